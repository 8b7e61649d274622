"""Scoring of responses, during generation if the reward can."""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from gmpo.metrics.clock import StepClock
from gmpo.rewards import Reward, as_reward, verifier_of
from gmpo.rewards.scores import MalformedScoresError, as_score, end_coroutine, shown, values_of
from gmpo.run.errors import EngineError, RewardError
from gmpo.types import Prompt, Request, Response, Rollout
from gmpo.verifier.notation import canonical

LONGEST = 300  # characters of a text in a message

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scoring:
    """The treatment of a response whose reward raises, or returns no finite number.

    on_error: "stop" ends the run with a RewardError that names it; "zero" scores it 0 and logs it.
    """

    on_error: Literal["stop", "zero"] = "stop"

    def __post_init__(self) -> None:
        if self.on_error not in ("stop", "zero"):
            raise ValueError(f"scoring.on_error={self.on_error} must be stop or zero")

    def failed(self, prompt: Prompt, response: Response, error: BaseException) -> float:
        """Return the score of a response that has none; raise RewardError if that is to stop the run."""
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


def timed(
    responses: Iterable[tuple[Request, Response]], requests: Sequence[Request], clock: StepClock
) -> Generator[tuple[Request, Response]]:
    """Yield `responses` as they come; count them, and their time as "generate".

    "generate_tail" is the time in which at most a tenth of the `requests` were left. Raises EngineError, at the end, if
    a request has no response.
    """
    finished: list[float] = []
    missing = set(requests)
    clock.count_responses(0, len(requests))
    with clock("generate"):
        for request, response in responses:
            finished.append(time.perf_counter())
            missing.discard(request)
            clock.count_responses(len(finished), len(requests))
            yield request, response
    if missing:
        raise EngineError(
            f"the engine gave no response to {len(missing)} of {len(requests)} requests: it must yield each of the "
            "Request objects that it is given, with its response"
        )
    if finished:
        clock.seconds["generate_tail"] += time.perf_counter() - finished[-1 - len(finished) // 10]


def score(
    responses: Iterable[tuple[Request, Response]],
    reward: Reward,
    scoring: Scoring = Scoring(),
    clock: StepClock | None = None,
    one_by_one: bool = False,
) -> Generator[tuple[Request, Rollout]]:
    """Yield each response as a rollout soon after it is scored, in the order in which responses are finished.

    A reward that has `submit` scores responses while others are generated. Any other scores all of them in one call at
    the end, or one_by_one, as they come. clock: counts scoring time beyond the generation as "reward". Raises
    RewardError, at the end, if a response has no score.
    """
    scores = _Scores(reward, scoring, one_by_one)
    for request, response in responses:
        scores.add(request, response)
        yield from scores.settled()
    with (clock or StepClock())("reward"):
        yield from scores.finish()


class _Scores:
    """Scores responses as they come, or all at the end if the reward cannot."""

    def __init__(self, reward: Reward, scoring: Scoring, one_by_one: bool) -> None:
        self.reward = reward = as_reward(reward)
        self.scoring = scoring
        self.one_by_one = one_by_one
        verifier = verifier_of(reward)
        self.submit: Callable[[str, str], object] | None = reward.submit if reward.streams else None
        self.read: Callable[[str], str | None] | None = verifier.answer if verifier.reads_answers else None
        self.waiting: deque[tuple[Request, Response, Future[Any]]] = deque()
        self.failure: RewardError | None = None  # the first

    def add(self, request: Request, response: Response) -> None:
        """Submit a finished response for scoring."""
        answer, score = request.prompt.answer, Future[Any]()
        if self.submit is not None:
            try:
                submitted = self.submit(response.text, answer)
                if not isinstance(submitted, Future):
                    end_coroutine(submitted)
                    raise RewardError(f"`submit` returned {shown(submitted)}, where a Future is expected")
                score = submitted
            except (Exception, SystemExit) as error:  # noqa: BLE001  (a reward is a user's code: see `Scoring`)
                score.set_exception(error)
        elif self.one_by_one:
            _score_into(score, self.reward, response.text, answer)
        self.waiting.append((request, response, score))

    def settled(self) -> Iterator[tuple[Request, Rollout]]:
        """Yield scored rollouts, up to the first that has no score yet."""
        while self.waiting and self.waiting[0][-1].done():
            yield self._settle(*self.waiting.popleft())

    def finish(self) -> Iterator[tuple[Request, Rollout]]:
        """Yield the rest; raise RewardError if a response has no score."""
        if self.submit is None and not self.one_by_one:
            self._score_all()
        while self.waiting:
            yield self._settle(*self.waiting.popleft())
        if self.failure is not None:
            raise self.failure

    def _score_all(self) -> None:
        """Score in one call; if that raises, one by one, to find the response at fault."""
        texts = [response.text for _, response, _ in self.waiting]
        answers = [request.prompt.answer for request, _, _ in self.waiting]
        try:
            values = values_of(self.reward.score, texts, answers)
        except MalformedScoresError as error:  # one at a time, scores might look right
            for *_, score in self.waiting:
                score.set_exception(error)
        except (Exception, SystemExit):  # noqa: BLE001  (a reward is a user's code: see `Scoring`)
            for (*_, score), text, answer in zip(self.waiting, texts, answers, strict=True):
                _score_into(score, self.reward, text, answer)
        else:
            for (*_, score), value in zip(self.waiting, values, strict=True):
                score.set_result(value)

    def _settle(self, request: Request, response: Response, score: Future[Any]) -> tuple[Request, Rollout]:
        answer: str | None = None
        try:
            answer = None if self.read is None else canonical(self.read(response.text) or "")
            value = as_score(score.result())
        except (Exception, SystemExit) as error:  # noqa: BLE001  (a reward is a user's code: see `Scoring`)
            value = self._failed(request.prompt, response, error)
        return request, Rollout(response, value, final_answer=answer)

    def _failed(self, prompt: Prompt, response: Response, error: BaseException) -> float:
        try:
            return self.scoring.failed(prompt, response, error)
        except RewardError as failure:  # raised at the end: the engine is generating, perhaps with other ranks
            self.failure = self.failure or failure
            return 0.0


def _score_into(score: Future[Any], reward: Reward, text: str, answer: str) -> None:
    try:
        score.set_result(values_of(reward.score, [text], [answer])[0])
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a reward is a user's code: see `Scoring`)
        score.set_exception(error)
