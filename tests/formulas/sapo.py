import math

from formulas.formula import FREE, Case, Terms, over_tokens_then_sequences, ratios
from gmpo.objectives import SAPO


def sapo(tau_pos: float = 1.0, tau_neg: float = 1.05) -> Terms:
    """arXiv:2511.20347: a gate that closes softly instead of a clip."""

    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        tau = tau_pos if advantage > 0 else tau_neg
        return [-advantage * 4 / tau / (1 + math.exp(-tau * (r - 1))) for r in ratios(new, old)]

    return terms


CASES = [
    Case("sapo", SAPO(), sapo(), over_tokens_then_sequences, frozenset({FREE})),
    Case("sapo_uneven", SAPO(0.5, 2.0), sapo(0.5, 2.0), over_tokens_then_sequences, frozenset({FREE})),
]
