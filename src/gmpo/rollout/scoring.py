"""Responses with their scores: what a rollout is made of."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from gmpo.metrics.clock import StepClock
from gmpo.rewards import Reward, as_reward, verifier_of
from gmpo.rewards.scores import MalformedScoresError, as_score, end_coroutine, shown, values_of
from gmpo.rollout.engine import Engine
from gmpo.run.errors import RewardError
from gmpo.types import Group, Prompt, Response, Rollout, Sampling
from gmpo.verifier.notation import canonical

LONGEST = 300  # characters of a text in a message
OnRollout = Callable[[int, int, Rollout], None]  # place of the prompt, place among its responses, rollout

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scoring:
    """What becomes of a response whose reward raises, or returns no finite number.

    on_error: "stop" ends the run with a RewardError that names it; "zero" scores it 0 and logs it.
    """

    on_error: Literal["stop", "zero"] = "stop"

    def __post_init__(self) -> None:
        if self.on_error not in ("stop", "zero"):
            raise ValueError(f"scoring.on_error={self.on_error} must be stop or zero")

    def failed(self, prompt: Prompt, response: Response, error: BaseException) -> float:
        """The score of such a response."""
        what = str(error) if isinstance(error, RewardError) else f"{type(error).__name__}: {error}"
        said = (
            f"the reward failed: {what}. Prompt: {_short(prompt.question)} Answer: {_short(prompt.answer)} "
            f"Response: {_short(response.text)}"
        )
        if self.on_error == "stop":
            raise RewardError(f"{said} (scoring.on_error=zero would score it 0)") from error
        log.error("%s", said)
        return 0.0


def _short(text: str) -> str:
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def scored_groups(
    engine: Engine,
    reward: Reward,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    seeds: Sequence[Sequence[int]],
    clock: StepClock | None = None,
    on_rollout: OnRollout | None = None,
    scoring: Scoring = Scoring(),
) -> list[Group]:
    """As many scored responses to each prompt as it has seeds.

    A reward that has `submit` scores responses while others are generated. on_rollout is called with each rollout
    soon after it is scored, in the order in which responses are finished. clock: counts "generate" and "reward",
    the latter being what scoring takes beyond the generation, and as "generate_tail" the part of the generation in
    which at most a tenth of the responses were left.
    """
    scores = _Scores(reward, prompts, on_rollout, scoring)
    finished: list[float] = []
    asked = sum(map(len, seeds))
    if clock:
        clock.count_responses(0, asked)

    def add(place: int, number: int, response: Response) -> None:
        finished.append(time.perf_counter())
        if clock:
            clock.count_responses(len(finished), asked)
        scores.add(place, number, response)

    with clock("generate") if clock else nullcontext():
        responses = engine.generate(prompts, sampling, seeds, add)
    if clock and finished:
        clock.seconds["generate_tail"] += time.perf_counter() - finished[-1 - len(finished) // 10]
    with clock("reward") if clock else nullcontext():
        rollouts = scores.finish()
    return [
        Group(prompt, [rollouts[place, number] for number in range(len(own))])
        for place, (prompt, own) in enumerate(zip(prompts, responses, strict=True))
    ]


class _Scores:
    """Scores responses as they come; a reward that cannot is asked once, at the end."""

    def __init__(
        self, reward: Reward, prompts: Sequence[Prompt], on_rollout: OnRollout | None, scoring: Scoring
    ) -> None:
        self.reward = reward = as_reward(reward)
        self.prompts = prompts
        self.on_rollout = on_rollout
        self.scoring = scoring
        verifier = verifier_of(reward)
        self.submit: Callable[[str, str], object] | None = reward.submit if reward.streams else None
        self.read: Callable[[str], str | None] | None = verifier.answer if verifier.reads_answers else None
        self.waiting: deque[tuple[int, int, Response, Future[Any]]] = deque()
        self.rollouts: dict[tuple[int, int], Rollout] = {}
        self.failure: RewardError | None = None  # the first

    def add(self, place: int, number: int, response: Response) -> None:
        """A response that is finished."""
        answer, score = self.prompts[place].answer, Future[Any]()
        if self.submit is not None:
            try:
                submitted = self.submit(response.text, answer)
                if not isinstance(submitted, Future):
                    end_coroutine(submitted)
                    raise RewardError(f"`submit` returned {shown(submitted)}, where a Future is expected")
                score = submitted
            except (Exception, SystemExit) as error:  # noqa: BLE001  (a reward is a user's code: see `Scoring`)
                score.set_exception(error)
        elif self.on_rollout is not None:  # who waits for each rollout does not want them all at the end
            _score_into(score, self.reward, response.text, answer)
        self.waiting.append((place, number, response, score))
        while self.waiting and self.waiting[0][3].done():
            self._settle_first()

    def finish(self) -> dict[tuple[int, int], Rollout]:
        """Every rollout by the places of its prompt and its own; raises RewardError where one has no score."""
        if self.submit is None and self.on_rollout is None:
            self._score_all()
        while self.waiting:
            self._settle_first()
        if self.failure is not None:
            raise self.failure
        return self.rollouts

    def _score_all(self) -> None:
        """Score in one call; where that raises, one by one, to find which response it is."""
        texts = [response.text for _, _, response, _ in self.waiting]
        answers = [self.prompts[place].answer for place, _, _, _ in self.waiting]
        try:
            values = values_of(self.reward.score, texts, answers)
        except MalformedScoresError as error:  # asked for one at a time it may seem right
            for *_, score in self.waiting:
                score.set_exception(error)
        except (Exception, SystemExit):  # noqa: BLE001  (a reward is a user's code: see `Scoring`)
            for (*_, score), text, answer in zip(self.waiting, texts, answers, strict=True):
                _score_into(score, self.reward, text, answer)
        else:
            for (*_, score), value in zip(self.waiting, values, strict=True):
                score.set_result(value)

    def _settle_first(self) -> None:
        place, number, response, score = self.waiting.popleft()
        answer: str | None = None
        try:
            answer = None if self.read is None else canonical(self.read(response.text) or "")
            value = as_score(score.result())
        except (Exception, SystemExit) as error:  # noqa: BLE001  (a reward is a user's code: see `Scoring`)
            value = self._failed(self.prompts[place], response, error)
        self.rollouts[place, number] = rollout = Rollout(response, value, final_answer=answer)
        if self.on_rollout is not None:
            self.on_rollout(place, number, rollout)

    def _failed(self, prompt: Prompt, response: Response, error: BaseException) -> float:
        try:
            return self.scoring.failed(prompt, response, error)
        except RewardError as failure:  # raised in the end: an engine is at work here, perhaps with other ranks
            self.failure = self.failure or failure
            return 0.0


def _score_into(score: Future[Any], reward: Reward, text: str, answer: str) -> None:
    try:
        score.set_result(values_of(reward.score, [text], [answer])[0])
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a reward is a user's code: see `Scoring`)
        score.set_exception(error)
