"""Group Sequence Policy Optimization."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.objectives.clipping import log_range, outside
from gmpo.objectives.correction import sequence_weight, without_removed
from gmpo.objectives.objective import Clipped, LossInputs, PerSequence, check_clip_range, exp_bounded, masked_mean


@dataclass(frozen=True)
class GSPO(PerSequence):
    """One clipped ratio for a whole sequence (arXiv:2507.18071, eq. 5 to 7).

    With d_t the log-ratio of a token: s_i = exp(mean_t d_t), loss = −Σ_i min(A_i·s_i, A_i·clamp(s_i,
    1 − clip_low, 1 + clip_high)) / N over the N sequences of the mini-batch. The clip range is in ratio space.
    """

    clip_low: float = 3e-4  # in ratio space; a mean over tokens moves far less than a token
    clip_high: float = 4e-4

    def __post_init__(self) -> None:
        check_clip_range(clip_low=self.clip_low, clip_high=self.clip_high)

    def loss(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """Return the loss; the correction enters as the geometric mean of its weights over the sequence."""
        log_ratio_BT = without_removed(inputs.log_ratio, inputs.correction)
        ratio_B = exp_bounded(masked_mean(log_ratio_BT, inputs.mask))
        clipped_B = ratio_B.clamp(1 - self.clip_low, 1 + self.clip_high)
        loss_B = torch.maximum(-inputs.advantages * ratio_B, -inputs.advantages * clipped_B)
        return (loss_B * sequence_weight(inputs.correction, inputs.mask)).sum() / inputs.denominator

    def clipped(
        self,
        log_ratio: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
    ) -> Clipped:
        """Return the clipped tokens; a clipped sequence has all of its tokens clipped."""
        log_ratio_B1 = masked_mean(log_ratio, mask).unsqueeze(-1)
        return outside(log_ratio_B1, advantages.unsqueeze(-1), mask, *log_range(self.clip_low, self.clip_high))
