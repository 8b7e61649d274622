import math

from formulas.formula import FREE, Case, Terms, clip_toward, log_ratios, over_sequences
from gmpo.objectives import GMPO


def gmpo(low: float = 0.4, high: float = 0.4, level: str = "token", normalize: bool = True) -> Terms:
    """arXiv:2507.20673, equation 4, and the variants of its code."""

    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        log_ratio = log_ratios(new, old)
        if level == "token":
            log_ratio = [clip_toward(advantage, d, low, high) for d in log_ratio]
        exponent = math.fsum(log_ratio)
        if level == "sequence":
            exponent = clip_toward(advantage, exponent, low, high)
        return [-advantage * math.exp(exponent / len(new) if normalize else exponent)]

    return terms


UNCLIPPED = frozenset({FREE})
CASES = [
    Case("gmpo", GMPO(), gmpo(), over_sequences),
    Case("gmpo_uneven", GMPO(0.1, 0.3), gmpo(0.1, 0.3), over_sequences),
    Case("gmpo_seqclip", GMPO(clip_level="sequence"), gmpo(level="sequence"), over_sequences),
    Case("gmpo_noclip", GMPO(clip_level="none"), gmpo(level="none"), over_sequences, UNCLIPPED),
    Case("gmpo_unnormalized", GMPO(length_normalize=False), gmpo(normalize=False), over_sequences),
    Case(
        "gmpo_noclip_unnormalized",
        GMPO(clip_level="none", length_normalize=False),
        gmpo(level="none", normalize=False),
        over_sequences,
        UNCLIPPED,
    ),
]
