import math

from formulas.formula import Case, Terms, clamp, over_sequences, over_tokens, over_tokens_then_sequences, ratios
from gmpo.objectives import GRPO


def grpo(low: float = 0.2, high: float = 0.2, dual: float = math.inf) -> Terms:
    """arXiv:2402.03300, equation 3; the dual clip of arXiv:1912.09729."""

    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        gains = [min(advantage * r, advantage * clamp(r, 1 - low, 1 + high)) for r in ratios(new, old)]
        return [-max(gain, dual * advantage) if advantage < 0 else -gain for gain in gains]

    return terms


def over_sequences_and_horizon(length: int, sequences: int, tokens: int) -> float:
    return 1 / sequences / 7


CASES = [
    Case("grpo", GRPO(), grpo(), over_tokens),
    Case("grpo_dual_clip", GRPO(0.2, 0.28, dual_clip=3.0), grpo(0.2, 0.28, 3.0), over_tokens),
    Case("grpo_sequence_mean", GRPO(aggregation="sequence_mean"), grpo(), over_tokens_then_sequences),
    Case("grpo_sequence_sum", GRPO(aggregation="sequence_sum"), grpo(), over_sequences),
    Case("dr_grpo", GRPO(aggregation="sequence_sum_norm", horizon=7), grpo(), over_sequences_and_horizon),
]
