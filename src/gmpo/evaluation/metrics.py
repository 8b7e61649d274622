"""Metrics over several responses to each problem."""

from collections.abc import Sequence
from math import comb


def pass_at_k(correct: int, total: int, k: int) -> float:
    """The probability that at least one of k responses is right, without bias (arXiv:2107.03374, eq. 1).

    correct of total responses to a problem were right; k must be between 1 and total.
    """
    if not 0 <= correct <= total:
        raise ValueError(f"correct={correct} must lie between 0 and total={total}")
    if not 1 <= k <= total:
        raise ValueError(f"k={k} must lie between 1 and total={total}: sample at least k responses to each problem")
    return 1.0 - comb(total - correct, k) / comb(total, k)


def mean_at_k(rewards: Sequence[Sequence[float]]) -> float:
    """The mean over problems of the mean reward of their responses."""
    return sum(sum(r) / len(r) for r in rewards) / len(rewards)
