"""GMPO with a harmonic mean."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.objectives.clipping import clip_log_ratio, outside
from gmpo.objectives.correction import sequence_weight, without_removed
from gmpo.objectives.objective import Clipped, LossInputs, PerSequence, check_clip_range, exp_bounded, masked_sum


@dataclass(frozen=True)
class HMPO(PerSequence):
    """Harmonic mean of clipped token ratios (a variant in the code of arXiv:2507.20673).

    With d_t the log-ratio of a token: ratio_i = T_i / Σ_t exp(−clip(d_t)), loss = −Σ_i A_i·ratio_i / N over
    the N sequences of the mini-batch. The clip range is in log space and acts as GMPO's does.
    """

    clip_low: float = 0.4  # in log space: a ratio of 0.670
    clip_high: float = 0.4  # a ratio of 1.492

    def __post_init__(self) -> None:
        check_clip_range(clip_low=self.clip_low, clip_high=self.clip_high)

    def loss(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """Return the loss; the correction enters as the geometric mean of its weights over the sequence."""
        log_ratio_BT = without_removed(inputs.log_ratio, inputs.correction)
        clipped_BT = clip_log_ratio(log_ratio_BT, inputs.advantages.unsqueeze(-1), self.clip_low, self.clip_high)
        inverse_B = torch.where(inputs.mask.any(-1), masked_sum(exp_bounded(-clipped_BT), inputs.mask), 1.0)
        weight_B = inputs.advantages * sequence_weight(inputs.correction, inputs.mask)
        return -(weight_B * inputs.lengths / inverse_B).sum() / inputs.denominator

    def clipped(
        self,
        log_ratio: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
    ) -> Clipped:
        return outside(log_ratio, advantages.unsqueeze(-1), mask, self.clip_low, self.clip_high)
