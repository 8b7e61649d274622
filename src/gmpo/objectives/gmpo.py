"""Geometric-Mean Policy Optimization."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.objectives.clipping import clip_log_ratio, outside
from gmpo.objectives.correction import sequence_weight, without_removed
from gmpo.objectives.objective import Clipped, LossInputs, PerSequence, check_clip_range, exp_bounded, masked_sum


@dataclass(frozen=True)
class GMPO(PerSequence):
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

    def loss(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """Return the loss; the correction enters as the geometric mean of its weights over the sequence."""
        log_ratio_BT = without_removed(inputs.log_ratio, inputs.correction)
        if self.clip_level == "token":
            log_ratio_BT = clip_log_ratio(log_ratio_BT, inputs.advantages.unsqueeze(-1), self.clip_low, self.clip_high)
        log_ratio_B = log_ratio_BT.sum(-1)
        if self.clip_level == "sequence":
            log_ratio_B = clip_log_ratio(log_ratio_B, inputs.advantages, self.clip_low, self.clip_high)
        if self.length_normalize:
            log_ratio_B = log_ratio_B / inputs.lengths.clamp(min=1)
        weight_B = inputs.advantages * sequence_weight(inputs.correction, inputs.mask)
        return -(weight_B * exp_bounded(log_ratio_B)).sum() / inputs.denominator

    def clipped(
        self,
        log_ratio: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
    ) -> Clipped:
        """Return the clipped tokens; a sequence clipped as a whole has all of its tokens clipped."""
        if self.clip_level == "none":
            return super().clipped(log_ratio, advantages, mask)
        if self.clip_level == "sequence":
            log_ratio = masked_sum(log_ratio, mask).unsqueeze(-1)
        return outside(log_ratio, advantages.unsqueeze(-1), mask, self.clip_low, self.clip_high)
