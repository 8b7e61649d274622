"""Responses of a real engine, scored while others are generated or at the end: the same groups."""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import pytest
import torch
from conftest import make_prompt
from engine_checks import requests

from gmpo.metrics.clock import StepClock
from gmpo.rewards import ExactMatch, Instant, Reward
from gmpo.rollout.scoring import Scoring, score, timed
from gmpo.rollout.transformers import TransformersEngine
from gmpo.run.errors import RewardError
from gmpo.types import Group, Request, Response, Rollout, Sampling

PROMPTS = [make_prompt(q, i, answer=str(i)) for i, q in enumerate(["1+1", "what is 12+34", "9 minus 8"])]
REQUESTS = requests(PROMPTS, Sampling(max_tokens=30), 4)[3:]  # groups of different sizes


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


def scored(
    engine: TransformersEngine, reward: Reward, on_error: Literal["stop", "zero"] = "stop", one_by_one: bool = False
) -> dict[Request, Rollout]:
    return dict(score(engine.generate(REQUESTS), reward, Scoring(on_error), one_by_one=one_by_one))


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("kind", ["streaming", "batch only", "slow"])
def test_every_response_is_scored_once_for_its_own_request(
    engine: TransformersEngine, kind: str, one_by_one: bool
) -> None:
    with ThreadPoolExecutor(4) as threads:
        rewards: dict[str, Reward] = {"streaming": Streaming(), "batch only": BatchOnly(), "slow": Slow(threads)}
        rollouts = scored(engine, rewards[kind], one_by_one=one_by_one)
    generated = dict(engine.generate(REQUESTS))
    assert list(rollouts) == list(generated), "in the order in which the engine finishes them"
    assert len(rollouts) == 9
    for request, rollout in rollouts.items():
        assert rollout.response == generated[request]
        assert rollout.reward == value(rollout.response.text, request.prompt.answer)
        assert rollout.final_answer is None
    assert len({rollout.reward for rollout in rollouts.values()}) > 6


def test_a_reward_without_submit_is_asked_once(engine: TransformersEngine) -> None:
    reward = BatchOnly()
    scored(engine, reward)
    assert reward.calls == 1


def test_scores_are_handed_on_while_others_are_generated(engine: TransformersEngine) -> None:
    known_after = []
    finished = 0

    class Counting(Streaming):
        def submit(self, response: str, answer: str) -> Future[float]:
            nonlocal finished
            finished += 1
            return super().submit(response, answer)

    for _ in score(engine.generate(REQUESTS), Counting()):
        known_after.append(finished)
    assert known_after == list(range(1, len(REQUESTS) + 1))


class Late(TransformersEngine):
    """Finishes a response each 10 ms, and the last three each 50 ms."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        for number, finished in enumerate(super().generate(requests), start=1):
            time.sleep(0.05 if number > 27 else 0.01)
            yield finished


def test_the_last_tenth_of_a_generation_is_counted(qwen2_folder: str) -> None:
    engine, clock, asked = (
        Late(qwen2_folder, "float32", max_num_seqs=100),
        StepClock(),
        requests(PROMPTS, Sampling(4), 10),
    )
    engine.start()
    dict(score(timed(engine.generate(asked), asked, clock), Streaming()))
    assert 0.15 <= clock.seconds["generate_tail"] <= clock.seconds["generate"] - 0.27
    before = clock.seconds["generate_tail"]
    dict(score(timed(engine.generate(asked), asked, clock), Streaming()))
    assert clock.seconds["generate_tail"] >= before + 0.15, "of all generations of a step"


@pytest.mark.parametrize("wait", [False, True])
def test_the_final_answer_is_read_where_the_reward_reads_one(engine: TransformersEngine, wait: bool) -> None:
    class Parity(ExactMatch):
        def answer(self, response: str) -> str | None:
            return "1,024.0" if len(response) % 2 else None

    class ParityAtTheEnd(Reward):
        score, answer = Parity().score, Parity().answer

    rollouts = scored(engine, ParityAtTheEnd() if wait else Parity()).values()
    assert {r.final_answer for r in rollouts} == {"1024", ""}
    assert [r.final_answer for r in rollouts] == ["1024" if len(r.response.text) % 2 else "" for r in rollouts]


def test_a_reward_that_fails_is_heard(engine: TransformersEngine) -> None:
    with pytest.raises(
        RewardError, match=r"OSError: the judge is down\. Prompt: '.*' Answer: '.*' Response: '.*'"
    ) as error:
        scored(engine, Failing())
    assert repr(PROMPTS[0].question) in str(error.value)
    rollouts = scored(engine, Failing(), "zero").values()
    assert {rollout.reward for rollout in rollouts} == {0.0}


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
        scored(engine, reward)
    rollouts = scored(engine, reward, "zero").values()
    rewards = [rollout.reward for rollout in rollouts]
    assert all(type(reward) is float and math.isfinite(reward) for reward in rewards)
    assert rewards.count(0.0) == (1 if kind == "nan" and not at_once else len(rewards))


def test_arrays_of_the_right_length_become_floats(engine: TransformersEngine) -> None:
    rollouts = scored(engine, Odd(lambda count: torch.full((count,), 0.5))).values()
    rewards = [rollout.reward for rollout in rollouts]
    assert set(rewards) == {0.5}
    assert {type(reward) for reward in rewards} == {float}


def test_a_submit_that_gives_no_future_is_an_error(engine: TransformersEngine) -> None:
    class Quits(Streaming):
        def submit(self, response: str, answer: str) -> Any:
            raise SystemExit(3)

    with pytest.raises(RewardError, match="SystemExit: 3"):
        scored(engine, Quits())

    class Hasty(Streaming):
        def submit(self, response: str, answer: str) -> Any:
            return 1.0

    with pytest.raises(RewardError, match=r"`submit` returned 1\.0 \(float\), where a Future is expected"):
        scored(engine, Hasty())


def test_a_group_with_a_reward_that_is_no_number_carries_no_signal() -> None:
    response = Response([1], [0.0], "", False)
    rollouts = [Rollout(response, value) for value in (1.0, math.nan, 0.0)]
    assert Group(PROMPTS[0], rollouts).zero_advantage
    assert not Group(PROMPTS[0], rollouts[::2]).zero_advantage


def test_what_becomes_of_a_failed_reward_is_one_of_two() -> None:
    with pytest.raises(ValueError, match=r"scoring\.on_error=ignore must be stop or zero"):
        Scoring("ignore")  # type: ignore[arg-type]
