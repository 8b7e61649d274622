"""Geometric-Mean Policy Optimization."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.objectives.objective import (
    check_clip_range,
    count_sequences,
    log_ratios,
    masked_mean,
    masked_sum,
    without_zero_advantages,
)


@dataclass(frozen=True)
class GMPO:
    """Geometric mean of clipped token ratios (arXiv:2507.20673, eq. 4).

    With d_t the log-ratio of a token: ratio_i = exp(mean_t clip(d_t)), loss = −Σ_i A_i·ratio_i / N over
    the N sequences of the mini-batch. The clip range is in log space. A positive advantage caps d_t at
    clip_high, a negative one floors it at −clip_low; the other side is never clipped. A clipped token gives
    no gradient and still counts in the mean.
    """

    clip_low: float = 0.4  # in log space: a ratio of 0.670
    clip_high: float = 0.4  # a ratio of 1.492
    clip_level: Literal["token", "sequence", "none"] = "token"  # "sequence" clips Σ_t d_t once
    length_normalize: bool = True  # False: exp of the sum instead of the mean

    def __post_init__(self) -> None:
        check_clip_range(clip_low=self.clip_low, clip_high=self.clip_high)
        if self.clip_level not in ("token", "sequence", "none"):
            raise ValueError(f"clip_level must be token, sequence or none, not {self.clip_level!r}")

    def __call__(
        self,
        log_probs: Float[Tensor, "B T"],
        old_log_probs: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
        denominator: Float[Tensor, ""],
        correction: Float[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, ""]:
        """As `Objective`; the correction enters as the geometric mean of its weights over the sequence."""
        log_ratio_BT = without_zero_advantages(log_ratios(log_probs, old_log_probs, mask), advantages)
        if self.clip_level == "token":
            log_ratio_BT = self._clip(log_ratio_BT, advantages.unsqueeze(-1))
        log_ratio_B = log_ratio_BT.sum(-1)
        if self.clip_level == "sequence":
            log_ratio_B = self._clip(log_ratio_B, advantages)
        if self.length_normalize:
            log_ratio_B = log_ratio_B / mask.sum(-1).clamp(min=1)
        weight_B = advantages * mask.any(-1)
        if correction is not None:
            average = masked_mean if self.length_normalize else masked_sum
            weight_B = weight_B * average(correction.log(), mask).exp()
        return -(weight_B * log_ratio_B.exp()).sum() / denominator

    def count(self, mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Sequences."""
        return count_sequences(mask)

    def clipped(
        self,
        log_ratio: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
    ) -> Bool[Tensor, "B T"]:
        """As `Objective`; a sequence clipped as a whole has all of its tokens clipped."""
        if self.clip_level == "none":
            return torch.zeros_like(mask)
        if self.clip_level == "sequence":
            return self._outside(masked_sum(log_ratio, mask), advantages).unsqueeze(-1) & mask
        return self._outside(log_ratio, advantages.unsqueeze(-1)) & mask

    def _clip(self, log_ratio: Tensor, advantages: Tensor) -> Tensor:
        capped, floored = log_ratio.clamp(max=self.clip_high), log_ratio.clamp(min=-self.clip_low)
        return torch.where(advantages >= 0, capped, floored)

    def _outside(self, log_ratio: Tensor, advantages: Tensor) -> Tensor:
        too_high = (advantages > 0) & (log_ratio > self.clip_high)
        too_low = (advantages < 0) & (log_ratio < -self.clip_low)
        return too_high | too_low
