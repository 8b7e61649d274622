"""Responses with their scores, through a real engine."""

from collections.abc import Sequence
from concurrent.futures import Future

import pytest
from conftest import make_prompt
from engine_checks import seeds

from gmpo.clock import StepClock
from gmpo.rewards import Instant, MathReward, WeightedSum
from gmpo.rollout import scored_groups
from gmpo.rollout.transformers import TransformersEngine
from gmpo.types import Rollout, Sampling

PROMPTS = [make_prompt(question, i, str(i)) for i, question in enumerate(["1+1", "what is 12+34", "9 minus 8", "7"])]
SAMPLING = Sampling(max_tokens=12, samples=3)


class Length:
    """Scored as one batch: a user's reward with nothing but `score`."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        self.calls.append(len(responses))
        return [len(response) + int(answer) / 10 for response, answer in zip(responses, answers, strict=True)]


class StreamedLength(Instant):
    """The same, response by response."""

    def __init__(self) -> None:
        self.seen = 0

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        self.seen += len(responses)
        return Length().score(responses, answers)

    def answer(self, response: str) -> str | None:
        return f" {len(response)},000 "


@pytest.fixture(scope="module")
def engine(qwen2_folder: str) -> TransformersEngine:
    engine = TransformersEngine(qwen2_folder, "float32", max_sequences=4)
    engine.start()
    return engine


def expected(rollout: Rollout, place: int) -> float:
    return len(rollout.response.text) + place / 10


def test_streamed_or_at_the_end_the_scores_are_the_same(engine: TransformersEngine) -> None:
    batch, clock = Length(), StepClock()
    at_the_end = scored_groups(engine, batch, PROMPTS, SAMPLING, seeds(PROMPTS, SAMPLING), clock)
    streamed = scored_groups(engine, StreamedLength(), PROMPTS, SAMPLING, seeds(PROMPTS, SAMPLING))
    assert batch.calls == [12], "one call for all"
    for place, (one, other) in enumerate(zip(at_the_end, streamed, strict=True)):
        assert one.prompt == other.prompt == PROMPTS[place]
        assert [r.response for r in one.rollouts] == [r.response for r in other.rollouts]
        assert [r.reward for r in one.rollouts] == [expected(r, place) for r in one.rollouts]
        assert [r.reward for r in one.rollouts] == [r.reward for r in other.rollouts]
        assert [r.final_answer for r in one.rollouts] == [None] * 3
        assert [r.final_answer for r in other.rollouts] == [f"{len(r.response.text)}000" for r in other.rollouts]
    assert clock.seconds["generate"] > 0


def test_scores_are_there_while_others_are_generated(engine: TransformersEngine) -> None:
    reward = StreamedLength()
    seen: list[tuple[int, int, int]] = []

    def keep(place: int, number: int, rollout: Rollout) -> None:
        assert rollout.reward == expected(rollout, place)
        seen.append((place, number, reward.seen))

    scored_groups(engine, reward, PROMPTS, SAMPLING, seeds(PROMPTS, SAMPLING), on_rollout=keep)
    assert sorted((place, number) for place, number, _ in seen) == [(p, n) for p in range(4) for n in range(3)]
    assert [scored for _, _, scored in seen] == list(range(1, 13)), "each is handed over before the next is scored"


def test_a_reward_that_is_asked_for_each_rollout_is_asked_at_once(engine: TransformersEngine) -> None:
    reward = Length()
    handed: list[int] = []

    def keep(place: int, number: int, rollout: Rollout) -> None:
        handed.append(len(reward.calls))

    scored_groups(engine, reward, PROMPTS, SAMPLING, seeds(PROMPTS, SAMPLING), on_rollout=keep)
    assert handed == list(range(1, 13))


def test_slow_checks_do_not_hold_up_the_engine(engine: TransformersEngine) -> None:
    """All are submitted before the generation ends, and scores that come later are waited for."""
    clock = StepClock()

    class Late(StreamedLength):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[tuple[Future[float], float]] = []

        def submit(self, response: str, answer: str) -> Future[float]:
            assert clock.seconds["generate"] == 0, "the engine is at work"
            score: Future[float] = Future()
            self.open.append((score, self.score([response], [answer])[0]))
            if len(self.open) == 12:
                for other, value in reversed(self.open):
                    other.set_result(value)
            return score

    late = Late()
    groups = scored_groups(engine, late, PROMPTS, SAMPLING, seeds(PROMPTS, SAMPLING), clock)
    assert len(late.open) == 12
    assert all(r.reward == expected(r, place) for place, group in enumerate(groups) for r in group.rollouts)


def test_a_response_of_any_length_is_read_quickly() -> None:
    with MathReward(processes=1) as reward:
        total = WeightedSum({"math": reward, "length": StreamedLength()}, {"math": 1.0, "length": 0.0}, "math")
        strange = "Answer: 5 because " + "we add " * 100_000 + "!"
        assert total.submit(strange, "5").result(timeout=5) == 0.0
        assert total.verifier is reward
