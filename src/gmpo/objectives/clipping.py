"""Clip ranges around a ratio of 1, in log space, and the tokens that they clip."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.objectives.objective import Clipped


def clip_log_ratio(
    log_ratio: Float[Tensor, "..."], advantages: Float[Tensor, "..."], low: float, high: float
) -> Float[Tensor, "..."]:
    """Return s·min(s·d, s·clamp(d, −low, high)), s the advantage's sign: capped if positive, floored if negative."""
    return torch.where(advantages >= 0, log_ratio.clamp(max=high), log_ratio.clamp(min=-low))


def outside(
    log_ratio: Float[Tensor, "..."],
    advantages: Float[Tensor, "..."],
    mask: Bool[Tensor, "B T"],
    low: float,
    high: float,
) -> Clipped:
    """Return the response tokens above `high` of a positive advantage, and those below −`low` of a negative one."""
    return Clipped((advantages > 0) & (log_ratio > high) & mask, (advantages < 0) & (log_ratio < -low) & mask)


def log_range(low: float, high: float) -> tuple[float, float]:
    """Return the log-space widths of the ratios 1 − low to 1 + high; a floor at 0 or below never clips."""
    return -math.log1p(-low) if low < 1 else math.inf, math.log1p(high)
