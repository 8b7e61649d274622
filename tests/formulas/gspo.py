import math

from formulas.formula import Case, Terms, clamp, over_sequences
from gmpo.objectives import GSPO


def gspo(low: float = 3e-4, high: float = 4e-4) -> Terms:
    """arXiv:2507.18071, equations 5 to 7."""

    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        ratio = math.exp((math.fsum(new) - math.fsum(old)) / len(new))
        return [-min(advantage * ratio, advantage * clamp(ratio, 1 - low, 1 + high))]

    return terms


CASES = [
    Case("gspo", GSPO(), gspo(), over_sequences),
    Case("gspo_wide", GSPO(0.2, 0.2), gspo(0.2, 0.2), over_sequences),
]
