"""A case: an objective beside its paper's formula, transcribed with lists and loops."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from gmpo.objectives.objective import Objective

# A sequence's terms of the loss, from its response tokens: log_probs, old_log_probs, advantage, and log_probs once
# more as the constants that a detached weight is made of. One term for each token, or one in all.
Terms = Callable[[list[float], list[float], float, list[float]], list[float]]
# The factor of a sequence's terms, from its length and the mini-batch's numbers of sequences and tokens.
Weight = Callable[[int, int, int], float]

FREE, HIGH, LOW = "free", "high", "low"  # tokens within the clip range, and held back on either side of it
BOTH = frozenset({FREE, HIGH, LOW})
STEP = 1e-6


@dataclass(frozen=True)
class Case:
    name: str
    objective: Objective
    terms: Terms
    weight: Weight
    sides: frozenset[str] = BOTH  # where its tokens are found on drawn batches
    detached: bool = False  # its weights are constants to the gradient, as CISPO's

    @property
    def per_sequence(self) -> bool:
        """Whether a sequence has one term, not one for each token."""
        return len(self.terms([0.0, 0.0], [0.0, 0.0], 1.0, [0.0, 0.0])) == 1

    @property
    def per_token(self) -> bool:
        """Whether the denominator counts tokens, not sequences."""
        return self.weight is over_tokens

    def token_weight(self, length: int, sequences: int, tokens: int) -> float:
        """Return the weight of one token's value in an average over the mini-batch."""
        return self.weight(length, sequences, tokens) / (length if self.per_sequence else 1)

    def held(self, log_ratio: float, advantage: float) -> bool:
        """Return whether a response of this one token is held back: moving its ratio changes nothing."""
        up, down = ([log_ratio + step] for step in (STEP, -STEP))
        still = [log_ratio]
        (high,), (low,) = (
            self.terms(still if self.detached else moved, [0.0], advantage, moved) for moved in (up, down)
        )
        return advantage != 0 and high == low


def clamp(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def log_ratios(new: list[float], old: list[float]) -> list[float]:
    return [n - o for n, o in zip(new, old, strict=True)]


def ratios(new: list[float], old: list[float]) -> list[float]:
    return [math.exp(d) for d in log_ratios(new, old)]


def clip_toward(advantage: float, log_ratio: float, low: float, high: float) -> float:
    """Return s·min(s·d, s·clamp(d, −low, high)), s the sign of the advantage."""
    sign = math.copysign(1, advantage)
    return sign * min(sign * log_ratio, sign * clamp(log_ratio, -low, high))


def over_sequences(length: int, sequences: int, tokens: int) -> float:
    return 1 / sequences


def over_tokens_then_sequences(length: int, sequences: int, tokens: int) -> float:
    return 1 / length / sequences


def over_tokens(length: int, sequences: int, tokens: int) -> float:
    return 1 / tokens
