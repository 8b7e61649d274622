"""Responses of a real engine, scored while others are generated or at the end: the same groups."""

import itertools
import math
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import torch
from conftest import make_prompt
from engine_checks import seeds

from gmpo.metrics.clock import StepClock
from gmpo.rewards import ExactMatch, Instant, Reward
from gmpo.rollout.engine import OnResponse, ignore
from gmpo.rollout.scoring import Scoring, scored_groups
from gmpo.rollout.transformers import TransformersEngine
from gmpo.run.errors import RewardError
from gmpo.types import Group, Prompt, Response, Rollout, Sampling

PROMPTS = [make_prompt(q, i, answer=str(i)) for i, q in enumerate(["1+1", "what is 12+34", "9 minus 8"])]
SAMPLING = Sampling(max_tokens=30, samples=4)
SEEDS = seeds(PROMPTS, SAMPLING)
SEEDS[0] = SEEDS[0][:1]  # groups of different sizes


def value(response: str, answer: str) -> float:
    """A number that few responses share."""
    return float(sum(map(ord, response)) + 10_000 * int(answer))


class Streaming(Instant):
    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [value(*pair) for pair in zip(responses, answers, strict=True)]


class BatchOnly:
    def __init__(self) -> None:
        self.calls = 0

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        self.calls += 1
        return Streaming().score(responses, answers)


class Slow(Streaming):
    """Scores in threads that end in any order."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.threads = threads
        self.rng = random.Random(0)

    def submit(self, response: str, answer: str) -> Future[float]:
        return self.threads.submit(self._late, response, answer, self.rng.uniform(0, 0.05))

    def _late(self, response: str, answer: str, seconds: float) -> float:
        time.sleep(seconds)
        return value(response, answer)


class Failing(Streaming):
    def submit(self, response: str, answer: str) -> Future[float]:
        score: Future[float] = Future()
        score.set_exception(OSError("the judge is down"))
        return score


@pytest.fixture(scope="module")
def engine(qwen2_folder: str) -> TransformersEngine:
    engine = TransformersEngine(qwen2_folder, "float32", max_num_seqs=3)  # several batches: responses come in turns
    engine.start()
    return engine


def handed_over(engine: TransformersEngine) -> list[tuple[int, int]]:
    """The places of responses in the order in which the engine finishes them."""
    order: list[tuple[int, int]] = []
    engine.generate(PROMPTS, SAMPLING, SEEDS, lambda place, number, response: order.append((place, number)))
    return order


@pytest.mark.parametrize("kind", ["streaming", "batch only", "slow"])
def test_every_response_is_scored_once_and_stands_in_its_place(engine: TransformersEngine, kind: str) -> None:
    seen: list[tuple[int, int, Rollout]] = []
    with ThreadPoolExecutor(4) as threads:
        rewards: dict[str, Reward] = {"streaming": Streaming(), "batch only": BatchOnly(), "slow": Slow(threads)}
        groups = scored_groups(
            engine, rewards[kind], PROMPTS, SAMPLING, SEEDS, on_rollout=lambda *rollout: seen.append(rollout)
        )
    assert [group.prompt for group in groups] == PROMPTS
    assert [[r.response for r in g.rollouts] for g in groups] == engine.generate(PROMPTS, SAMPLING, SEEDS)
    for group in groups:
        answer = group.prompt.answer
        assert [r.reward for r in group.rollouts] == [value(r.response.text, answer) for r in group.rollouts]
        assert [r.final_answer for r in group.rollouts] == [None] * len(group.rollouts)
    assert len({r.reward for g in groups for r in g.rollouts}) > 6
    assert [(place, number) for place, number, _ in seen] == handed_over(engine)
    assert all(groups[place].rollouts[number] is rollout for place, number, rollout in seen)


def test_a_reward_without_submit_is_asked_once(engine: TransformersEngine) -> None:
    reward = BatchOnly()
    scored_groups(engine, reward, PROMPTS, SAMPLING, SEEDS)
    assert reward.calls == 1


def test_scores_are_handed_on_while_others_are_generated(engine: TransformersEngine) -> None:
    clock, known_after = StepClock(), []
    finished = 0

    class Counting(Streaming):
        def submit(self, response: str, answer: str) -> Future[float]:
            nonlocal finished
            finished += 1
            return super().submit(response, answer)

    groups = scored_groups(
        engine, Counting(), PROMPTS, SAMPLING, SEEDS, clock, on_rollout=lambda *_: known_after.append(finished)
    )
    assert known_after == list(range(1, sum(len(group.rollouts) for group in groups) + 1))


class Late(TransformersEngine):
    """Finishes a response each 10 ms, and the last three each 50 ms."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[Sequence[int]],
        on_response: OnResponse = ignore,
    ) -> list[list[Response]]:
        numbers = itertools.count(1)

        def late(place: int, number: int, response: Response) -> None:
            time.sleep(0.05 if next(numbers) > 27 else 0.01)
            on_response(place, number, response)

        return super().generate(prompts, sampling, seeds, late)


def test_the_last_tenth_of_a_generation_is_counted(qwen2_folder: str) -> None:
    engine, clock, few = Late(qwen2_folder, "float32", max_num_seqs=100), StepClock(), Sampling(4, samples=10)
    engine.start()
    scored_groups(engine, Streaming(), PROMPTS, few, seeds(PROMPTS, few), clock)
    assert 0.15 <= clock.seconds["generate_tail"] <= clock.seconds["generate"] - 0.27
    before = clock.seconds["generate_tail"]
    scored_groups(engine, Streaming(), PROMPTS, few, seeds(PROMPTS, few), clock)
    assert clock.seconds["generate_tail"] >= before + 0.15, "of all generations of a step"


@pytest.mark.parametrize("wait", [False, True])
def test_the_final_answer_is_read_where_the_reward_reads_one(engine: TransformersEngine, wait: bool) -> None:
    class Parity(ExactMatch):
        def answer(self, response: str) -> str | None:
            return "1,024.0" if len(response) % 2 else None

    class ParityAtTheEnd(Reward):
        score, answer = Parity().score, Parity().answer

    groups = scored_groups(engine, ParityAtTheEnd() if wait else Parity(), PROMPTS, SAMPLING, SEEDS)
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    assert {r.final_answer for r in rollouts} == {"1024", ""}
    assert [r.final_answer for r in rollouts] == ["1024" if len(r.response.text) % 2 else "" for r in rollouts]


def test_a_reward_that_fails_is_heard(engine: TransformersEngine) -> None:
    with pytest.raises(
        RewardError, match=r"OSError: the judge is down\. Prompt: '.*' Answer: '.*' Response: '.*'"
    ) as error:
        scored_groups(engine, Failing(), PROMPTS, SAMPLING, SEEDS)
    assert repr(PROMPTS[0].question) in str(error.value)
    groups = scored_groups(engine, Failing(), PROMPTS, SAMPLING, SEEDS, scoring=Scoring("zero"))
    assert {rollout.reward for group in groups for rollout in group.rollouts} == {0.0}


class Odd:
    """Returns something else than floats where it is asked for a batch, and the same where for one response."""

    def __init__(self, values: Callable[[int], object]) -> None:
        self.values = values

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> Any:
        return self.values(len(responses))


ODD: dict[str, Callable[[int], object]] = {
    "none": lambda count: None,
    "one float": lambda count: 1.0,
    "too few": lambda count: [1.0] * (count - 1),
    "too many": lambda count: [1.0] * (count + 1),
    "text": lambda count: ["1.0"] * count,
    "nan": lambda count: [1.0] * (count - 1) + [math.nan],
    "infinity": lambda count: [math.inf] * count,
    "vectors": lambda count: torch.zeros(count, 2),
    "nothing": lambda count: [None] * count,
    "words": lambda count: {str(i): 1.0 for i in range(count)},
}


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_score_goes_the_way_of_a_reward_that_raises(
    engine: TransformersEngine, kind: str, at_once: bool
) -> None:
    class Streamed(Odd, Instant):
        pass

    reward = (Streamed if at_once else Odd)(ODD[kind])
    with pytest.raises(RewardError, match=r"the reward failed: .*returned.* Prompt: .*scoring\.on_error=zero"):
        scored_groups(engine, reward, PROMPTS, SAMPLING, SEEDS)
    groups = scored_groups(engine, reward, PROMPTS, SAMPLING, SEEDS, scoring=Scoring("zero"))
    rewards = [rollout.reward for group in groups for rollout in group.rollouts]
    assert all(type(reward) is float and math.isfinite(reward) for reward in rewards)
    assert rewards.count(0.0) == (1 if kind == "nan" and not at_once else len(rewards))


def test_arrays_of_the_right_length_become_floats(engine: TransformersEngine) -> None:
    groups = scored_groups(engine, Odd(lambda count: torch.full((count,), 0.5)), PROMPTS, SAMPLING, SEEDS)
    rewards = [rollout.reward for group in groups for rollout in group.rollouts]
    assert set(rewards) == {0.5}
    assert {type(reward) for reward in rewards} == {float}


def test_a_submit_that_gives_no_future_is_an_error(engine: TransformersEngine) -> None:
    class Quits(Streaming):
        def submit(self, response: str, answer: str) -> Any:
            raise SystemExit(3)

    with pytest.raises(RewardError, match="SystemExit: 3"):
        scored_groups(engine, Quits(), PROMPTS, SAMPLING, SEEDS)

    class Hasty(Streaming):
        def submit(self, response: str, answer: str) -> Any:
            return 1.0

    with pytest.raises(RewardError, match=r"`submit` returned 1\.0 \(float\), where a Future is expected"):
        scored_groups(engine, Hasty(), PROMPTS, SAMPLING, SEEDS)


def test_a_group_with_a_reward_that_is_no_number_carries_no_signal() -> None:
    response = Response([1], [0.0], "", False)
    rollouts = [Rollout(response, value) for value in (1.0, math.nan, 0.0)]
    assert Group(PROMPTS[0], rollouts).zero_advantage
    assert not Group(PROMPTS[0], rollouts[::2]).zero_advantage


def test_what_becomes_of_a_failed_reward_is_one_of_two() -> None:
    with pytest.raises(ValueError, match=r"scoring\.on_error=ignore must be stop or zero"):
        Scoring("ignore")  # type: ignore[arg-type]
