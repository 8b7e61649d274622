from itertools import combinations

import pytest

from gmpo.evaluation.metrics import mean_at_k, pass_at_k


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


def test_mean_at_k_weighs_problems_alike() -> None:
    assert mean_at_k([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0], [0.5]]) == pytest.approx((0.25 + 1.0 + 0.5) / 3)
