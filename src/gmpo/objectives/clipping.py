"""Clip ranges around a ratio of 1, and which tokens they hold back. A range is given in log space here."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.objectives.objective import Clipped


def clip_log_ratio(
    log_ratio: Float[Tensor, "..."], advantages: Float[Tensor, "..."], low: float, high: float
) -> Float[Tensor, "..."]:
    """s·min(s·d, s·clamp(d, −low, high)) with s the advantage's sign: capped if it is positive, floored if negative."""
    return torch.where(advantages >= 0, log_ratio.clamp(max=high), log_ratio.clamp(min=-low))


def outside(
    log_ratio: Float[Tensor, "..."],
    advantages: Float[Tensor, "..."],
    mask: Bool[Tensor, "B T"],
    low: float,
    high: float,
) -> Clipped:
    """The response tokens above `high` of a positive advantage, and those below −`low` of a negative one."""
    return Clipped((advantages > 0) & (log_ratio > high) & mask, (advantages < 0) & (log_ratio < -low) & mask)


def log_range(low: float, high: float) -> tuple[float, float]:
    """A range of ratios, 1 − low to 1 + high, as widths in log space; a floor at 0 or below never clips."""
    return -math.log1p(-low) if low < 1 else math.inf, math.log1p(high)
