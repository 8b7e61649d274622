from itertools import combinations

import pytest
import torch

from gmpo.evaluation.metrics import ProblemMetrics, maj_at_k, pass_at_k


@pytest.mark.parametrize("total", range(1, 8))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_response(total: int) -> None:
    for correct in range(total + 1):
        right = [True] * correct + [False] * (total - correct)
        for k in range(1, total + 1):
            subsets = list(combinations(right, k))
            expected = sum(any(subset) for subset in subsets) / len(subsets)
            assert pass_at_k(correct, total, k) == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_of_many_responses() -> None:
    assert pass_at_k(1, 10_000, 100) == pytest.approx(0.01)
    assert pass_at_k(0, 10_000, 5_000) == 0.0


@pytest.mark.parametrize(
    ("correct", "total", "k", "message"),
    [
        (-1, 4, 1, "correct=-1 must lie between 0 and total=4"),
        (5, 4, 1, "correct=5 must lie between 0 and total=4"),
        (1, 4, 0, "k=0 must lie between 1 and total=4"),
        (1, 4, 5, "k=5 must lie between 1 and total=4: sample at least k responses"),
    ],
)
def test_pass_at_k_refuses(correct: int, total: int, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pass_at_k(correct, total, k)


@pytest.mark.parametrize(
    ("correct", "answers", "share"),
    [
        ([1, 1, 0], ["5", "5", "6"], 1.0),
        ([1, 0, 0], ["5", "6", "6"], 0.0),
        ([1, 1, 0, 0], ["1/2", "0.5", "6", "6"], 0.5),  # the right ones vote together; a tie counts its share
        ([1, 0, 0], ["5", "6", "7"], pytest.approx(1 / 3)),
        ([0, 0, 0], ["", "", ""], 0.0),
        ([1, 0, 0], ["5", "", ""], 1.0),  # no answer is no vote
        ([1], ["5"], 1.0),
        ([0], ["5"], 0.0),
    ],
)
def test_maj_at_k(correct: list[int], answers: list[str], share: float) -> None:
    assert maj_at_k([bool(c) for c in correct], answers) == share


def test_metrics_of_several_problems() -> None:
    metrics = ProblemMetrics(samples=4, k=[1, 2])
    metrics.update([1, 1, 1, 0], ["5", "5", "5", "6"], [10, 10, 10, 10], [False] * 4)
    metrics.update([0, 0, 1, 0], ["7", "7", "5", "7"], [20, 20, 20, 40], [False, False, False, True])
    assert metrics.compute() == pytest.approx(
        {
            "mean@4": 0.5,
            "pass@1": 0.5,
            "pass@2": (1 + 0.5) / 2,
            "pass@4": 1.0,
            "maj@4": 0.5,
            "truncated_fraction": 1 / 8,
            "response_length": (10 + 25) / 2,
        }
    )


def test_of_one_response_there_is_one_number() -> None:
    metrics = ProblemMetrics(samples=1)
    metrics.update([1], ["5"], [10], [False])
    metrics.update([0], ["6"], [30], [True])
    assert metrics.compute() == {"mean@1": 0.5, "truncated_fraction": 0.5, "response_length": 20.0}
    asked_for = ProblemMetrics(samples=1, k=[1], solved_at=0.5)
    asked_for.update([0.6], ["5"], [10], [False])
    assert asked_for.compute()["pass@1"] == 1.0
    assert asked_for.compute()["mean@1"] == pytest.approx(0.6)


def test_without_answers_there_is_no_majority() -> None:
    metrics = ProblemMetrics(samples=2)
    metrics.update([1, 0], [None, None], [1, 1], [False, False])
    assert list(metrics.compute()) == ["mean@2", "pass@2", "truncated_fraction", "response_length"]


def test_rewards_are_averaged_as_they_are_and_right_from_the_threshold_on() -> None:
    metrics = ProblemMetrics(samples=2, solved_at=0.5)
    metrics.update([0.6, 0.2], ["", ""], [1, 1], [False, False])
    assert metrics.compute()["mean@2"] == pytest.approx(0.4)
    assert metrics.compute()["pass@2"] == 1.0


@pytest.mark.parametrize("k", [0, 5])
def test_impossible_k(k: int) -> None:
    with pytest.raises(ValueError, match=f"k=\\[{k}\\].*between 1 and the 4 responses"):
        ProblemMetrics(samples=4, k=[k])


def test_every_problem_has_as_many_responses() -> None:
    with pytest.raises(ValueError, match="3 responses to a problem, expected 4"):
        ProblemMetrics(samples=4).update([1.0] * 3, [""] * 3, [1] * 3, [False] * 3)


def test_metrics_of_several_ranks_add_up() -> None:
    """torchmetrics sums the states over ranks: here by hand."""
    whole, parts = ProblemMetrics(2), [ProblemMetrics(2), ProblemMetrics(2)]
    for number in range(5):
        problem = ([1.0, float(number % 2)], ["5", "6"], [number, 1], [False, True])
        whole.update(*problem)
        parts[number % 2].update(*problem)
    for name in ("totals", "problems", "unread"):
        setattr(parts[0], name, getattr(parts[0], name) + getattr(parts[1], name))
        assert parts[0]._reductions[name] is torch.sum or "sum" in str(parts[0]._reductions[name])
    assert parts[0].compute() == pytest.approx(whole.compute())
