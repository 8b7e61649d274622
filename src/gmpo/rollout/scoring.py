"""Responses with their scores: what a rollout is made of."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext

from gmpo.clock import StepClock
from gmpo.rewards import Reward, verifier_of
from gmpo.rewards.notation import canonical
from gmpo.rollout.engine import Engine
from gmpo.types import Group, Prompt, Response, Rollout, Sampling

OnRollout = Callable[[int, int, Rollout], None]  # place of the prompt, place among its responses, rollout


def scored_groups(
    engine: Engine,
    reward: Reward,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    seeds: Sequence[Sequence[int]],
    clock: StepClock | None = None,
    on_rollout: OnRollout | None = None,
) -> list[Group]:
    """As many scored responses to each prompt as it has seeds.

    A reward that has `submit` scores responses while others are generated. on_rollout is called with each rollout
    soon after it is scored, in the order in which responses are finished. clock: counts "generate" and "reward",
    the latter being what scoring takes beyond the generation.
    """
    scores = _Scores(reward, prompts, on_rollout)
    with clock("generate") if clock else nullcontext():
        responses = engine.generate(prompts, sampling, seeds, scores.add)
    with clock("reward") if clock else nullcontext():
        rollouts = scores.finish()
    return [
        Group(prompt, [rollouts[place, number] for number in range(len(own))])
        for place, (prompt, own) in enumerate(zip(prompts, responses, strict=True))
    ]


class _Scores:
    """Scores responses as they come; a reward that cannot is asked once, at the end."""

    def __init__(self, reward: Reward, prompts: Sequence[Prompt], on_rollout: OnRollout | None) -> None:
        self.reward = reward
        self.prompts = prompts
        self.on_rollout = on_rollout
        self.submit: Callable[[str, str], Future[float]] | None = getattr(reward, "submit", None)
        self.read: Callable[[str], str | None] | None = getattr(verifier_of(reward), "answer", None)
        self.waiting: deque[tuple[int, int, Response, Future[float]]] = deque()
        self.rollouts: dict[tuple[int, int], Rollout] = {}

    def add(self, place: int, number: int, response: Response) -> None:
        """A response that is finished."""
        answer, score = self.prompts[place].answer, Future[float]()
        if self.submit is not None:
            score = self.submit(response.text, answer)
        elif self.on_rollout is not None:  # who waits for each rollout does not want them all at the end
            score.set_result(self.reward.score([response.text], [answer])[0])
        self.waiting.append((place, number, response, score))
        while self.waiting and self.waiting[0][3].done():
            self._settle_first()

    def finish(self) -> dict[tuple[int, int], Rollout]:
        """Every rollout by the places of its prompt and its own."""
        if self.submit is None and self.on_rollout is None:
            texts = [response.text for _, _, response, _ in self.waiting]
            answers = [self.prompts[place].answer for place, _, _, _ in self.waiting]
            for (*_, score), value in zip(self.waiting, self.reward.score(texts, answers), strict=True):
                score.set_result(value)
        while self.waiting:
            self._settle_first()
        return self.rollouts

    def _settle_first(self) -> None:
        place, number, response, score = self.waiting.popleft()
        answer = None if self.read is None else canonical(self.read(response.text) or "")
        self.rollouts[place, number] = rollout = Rollout(response, score.result(), final_answer=answer)
        if self.on_rollout is not None:
            self.on_rollout(place, number, rollout)
