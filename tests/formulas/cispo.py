from formulas.formula import FREE, HIGH, Case, Terms, clamp, over_tokens, ratios
from gmpo.objectives import CISPO


def cispo(low: float = 1.0, high: float = 0.28) -> Terms:
    """arXiv:2506.13585, equation 4: the clipped ratio is a constant weight of the log-prob."""

    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        weights = [clamp(ratio, 1 - low, 1 + high) for ratio in ratios(frozen, old)]
        return [-weight * advantage * n for weight, n in zip(weights, new, strict=True)]

    return terms


CASES = [
    Case("cispo", CISPO(), cispo(), over_tokens, frozenset({FREE, HIGH}), detached=True),
    Case("cispo_floor", CISPO(clip_low=0.2), cispo(0.2), over_tokens, detached=True),
]
