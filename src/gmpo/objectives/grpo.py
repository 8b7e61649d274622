"""Group Relative Policy Optimization, and by its settings DAPO and Dr.GRPO."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.objectives.clipping import log_range, outside
from gmpo.objectives.objective import (
    Clipped,
    LossInputs,
    Objective,
    check_clip_range,
    count_sequences,
    count_tokens,
    exp_bounded,
    masked_mean,
    masked_sum,
)


@dataclass(frozen=True)
class GRPO(Objective):
    """Arithmetic mean of clipped token ratios (arXiv:2402.03300, eq. 3; DAPO, arXiv:2503.14476, eq. 8).

    With ρ_t the ratio of a token: loss_t = −min(A·ρ_t, A·clamp(ρ_t, 1 − clip_low, 1 + clip_high)), in ratio
    space. dual_clip bounds the loss of a negative advantage at dual_clip·|A| (arXiv:1912.09729).
    """

    clip_low: float = 0.2  # in ratio space: ratios down to 1 − 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None
    # token_mean: over all tokens of the mini-batch. sequence_mean: over tokens, then sequences. sequence_sum:
    # sum over tokens, mean over sequences. sequence_sum_norm: that divided by horizon (Dr.GRPO).
    aggregation: Literal["token_mean", "sequence_mean", "sequence_sum", "sequence_sum_norm"] = "token_mean"
    horizon: int | None = None  # tokens; Dr.GRPO's constant length

    def __post_init__(self) -> None:
        check_clip_range(clip_low=self.clip_low, clip_high=self.clip_high)
        aggregations = ("token_mean", "sequence_mean", "sequence_sum", "sequence_sum_norm")
        if self.aggregation not in aggregations:
            raise ValueError(f"aggregation must be one of {', '.join(aggregations)}, not {self.aggregation!r}")
        if (self.aggregation == "sequence_sum_norm") != (self.horizon is not None):
            raise ValueError(
                f"horizon={self.horizon} with aggregation={self.aggregation}: the horizon (a length in tokens) "
                "is for sequence_sum_norm only"
            )
        if self.horizon is not None and not self.horizon >= 1:
            raise ValueError(f"horizon is a length in tokens and must be at least 1, not {self.horizon}")
        if self.dual_clip is not None and not self.dual_clip > 1:
            raise ValueError(f"dual_clip bounds a ratio from above and must exceed 1, not {self.dual_clip}")

    def loss(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """Return the loss; the correction weighs each token's loss."""
        ratio_BT = exp_bounded(inputs.log_ratio)
        advantages_B1 = inputs.advantages.unsqueeze(-1)
        clipped_BT = ratio_BT.clamp(1 - self.clip_low, 1 + self.clip_high)
        loss_BT = torch.maximum(-advantages_B1 * ratio_BT, -advantages_B1 * clipped_BT)
        if self.dual_clip is not None:
            bounded_BT = torch.minimum(loss_BT, -advantages_B1 * self.dual_clip)
            loss_BT = torch.where(advantages_B1 < 0, bounded_BT, loss_BT)
        if inputs.correction is not None:
            loss_BT = loss_BT * inputs.correction
        return self.average(loss_BT, inputs.mask, inputs.denominator)

    def count(self, mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        return count_tokens(mask) if self.aggregation == "token_mean" else count_sequences(mask)

    def average(
        self, values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], denominator: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        over_tokens = masked_mean if self.aggregation == "sequence_mean" else masked_sum
        return over_tokens(values, mask).sum() / (denominator * (self.horizon or 1))

    def clipped(
        self,
        log_ratio: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
    ) -> Clipped:
        """Return the clipped tokens; those of the dual clip count as high."""
        advantages_B1 = advantages.unsqueeze(-1)
        high, low = outside(log_ratio, advantages_B1, mask, *log_range(self.clip_low, self.clip_high))
        if self.dual_clip is not None:
            high = high | ((advantages_B1 < 0) & (log_ratio > math.log(self.dual_clip)) & mask)
        return Clipped(high, low)
