"""Whatever a reward returns is one finite float for each response, or an error that names it."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from gmpo.rewards import Instant, WeightedSum, as_reward, report_of
from gmpo.rewards.scores import MalformedScoresError, as_score, values_of
from gmpo.run.errors import RewardError


class Returns:
    """A reward that returns what it is told to."""

    def __init__(self, values: object) -> None:
        self.values = values

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> Any:
        return self.values


class Answers(Instant):
    def __init__(self, value: object) -> None:
        self.value = value

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> Any:
        return [self.value] * len(responses)


class Async:
    async def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [1.0] * len(responses)


async def coroutine() -> float:
    return 1.0


def ten() -> Iterator[int]:
    yield from (1, 0)


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (1, 1.0),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.int64(2), 2.0),
        (torch.tensor(0.25), 0.25),
        (torch.tensor([0.25], dtype=torch.bfloat16), 0.25),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
    ],
)
def test_numbers_of_any_kind_become_floats(value: object, score: float) -> None:
    assert type(as_score(value)) is float
    assert as_score(value) == score


@pytest.mark.parametrize(
    "value",
    [
        *(None, "1.0", b"1", "", [1.0], (1.0,), {}, object(), 1j),
        *(np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]), torch.tensor([]), np.array("right")),
        *(
            math.nan,
            math.inf,
            -math.inf,
            1e39,
            -1e300,
            np.float32("nan"),
            torch.tensor(math.inf),
            10**400,
            Decimal("NaN"),
        ),
    ],
)
def test_what_is_no_finite_number_is_an_error(value: object) -> None:
    with pytest.raises(RewardError, match=r"it returned .*(number is expected|too large)") as error:
        as_score(value)
    assert type(value).__name__ in str(error.value)


@pytest.mark.filterwarnings("error")
def test_a_coroutine_is_named_and_ended() -> None:
    with pytest.raises(RewardError, match="coroutine, as an `async def` does"):
        as_score(coroutine())
    with pytest.raises(MalformedScoresError, match="coroutine, as an `async def` does"):
        values_of(Async().score, ["a"], ["b"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values", [[1, 0], (1, 0), np.array([1, 0], dtype=np.float32), torch.tensor([1.0, 0.0]), ten()]
)
def test_any_sequence_of_one_value_for_each_response_will_do(values: object) -> None:
    assert [as_score(value) for value in values_of(Returns(values).score, ["a", "b"], ["", ""])] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "`score` returned 1 values for 2 responses"),
        ([1.0, 1.0, 0.0], "`score` returned 3 values for 2 responses"),
        ([], "`score` returned 0 values for 2 responses"),
        (np.zeros(3), "3 values for 2"),
        (1.0, r"`score` returned 1.0 \(float\), where a list of one number for each of 2 responses is expected"),
        (None, r"`score` returned None \(NoneType\)"),
        ("ab", r"`score` returned 'ab' \(str\)"),
        ({"a": 1, "b": 0}, r"`score` returned \{'a': 1, 'b': 0\} \(dict\)"),
        ({0, 1}, r"\(set\)"),
        (torch.tensor(1.0), r"\(Tensor\)"),
        (np.array(1.0), r"\(ndarray\)"),
    ],
)
def test_other_shapes_are_an_error_with_the_counts(values: object, message: str) -> None:
    with pytest.raises(MalformedScoresError, match=message):
        values_of(Returns(values).score, ["a", "b"], ["", ""])


def summed(second: object) -> WeightedSum:
    return WeightedSum({"first": Answers(1.0), "second": second}, {"first": 1.0, "second": 1.0}, "first")  # type: ignore[dict-item]


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [1.0], 1.0, None, torch.tensor(1.0)])
def test_a_part_of_a_sum_shifts_no_scores(values: object) -> None:
    with pytest.raises(RewardError):
        summed(Returns(values)).score(["a", "b"], ["", ""])


@pytest.mark.parametrize("value", [None, math.nan, "1", np.array([1.0, 2.0]), math.inf])
def test_a_part_of_a_sum_is_named_however_it_is_asked(value: object) -> None:
    reward = summed(Answers(value))
    with pytest.raises(RewardError, match="it returned"):
        reward.score(["a"], [""])
    with pytest.raises(RewardError, match="it returned"):
        reward.submit("a", "").result(timeout=1)


def test_a_sum_that_is_too_large_is_an_error() -> None:
    rewards = WeightedSum({"first": Answers(1.0)}, {"first": 1e300}, "first")
    with pytest.raises(RewardError, match="too large"):
        rewards.score(["a"], [""])


class LateNone(Answers):
    """Its future gives no number."""

    def submit(self, response: str, answer: str) -> Future[Any]:
        score: Future[Any] = Future()
        score.set_result(None)
        return score


def test_a_sum_whose_part_gives_no_number_later_is_settled() -> None:
    with pytest.raises(RewardError, match=r"reward\.rewards\.second: it returned None"):
        summed(LateNone(1.0)).submit("a", "").result(timeout=1)


def test_reports_that_are_no_numbers_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Reports(Answers):
        def report(self) -> dict[str, Any]:
            return {"good": np.float32(0.5), "bad": None, "worse": math.nan}

    class Broken(Answers):
        def report(self) -> Any:
            return None

    assert report_of(Broken(1.0)) == {}
    assert "the report of Broken is not logged" in caplog.text
    assert report_of(Reports(1.0)) == {"good": 0.5}
    assert "reward/bad is not logged: it returned None" in caplog.text
    assert "reward/worse is not logged" in caplog.text


def test_a_class_with_score_alone_is_a_reward_and_one_with_more_inherits() -> None:
    class Plain:
        def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
            return [1.0] * len(responses)

    class More(Plain):
        def close(self) -> None:
            raise AssertionError("never asked")

    reward = as_reward(Plain())
    assert reward.score(["a", "b"], ["", ""]) == [1.0, 1.0]
    assert (reward.streams, reward.reads_answers, reward.report()) == (False, False, {})
    assert as_reward(reward) is reward
    with pytest.raises(ValueError, match=r"reward More has close and does not inherit.*`class More\(Reward\)`"):
        as_reward(More())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"reward int has no method score"):
        as_reward(1)  # type: ignore[arg-type]
