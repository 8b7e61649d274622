import math

from formulas.formula import Case, Terms, clip_toward, log_ratios, over_sequences
from gmpo.objectives import HMPO


def hmpo(low: float = 0.4, high: float = 0.4) -> Terms:
    """The harmonic mean in the code of arXiv:2507.20673."""

    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        clipped = [clip_toward(advantage, d, low, high) for d in log_ratios(new, old)]
        return [-advantage * len(new) / math.fsum(1 / math.exp(d) for d in clipped)]

    return terms


CASES = [
    Case("hmpo", HMPO(), hmpo(), over_sequences),
    Case("hmpo_uneven", HMPO(0.1, 0.3), hmpo(0.1, 0.3), over_sequences),
]
