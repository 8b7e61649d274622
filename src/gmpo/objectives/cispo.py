"""Clipped importance-sampling weights (MiniMax-M1)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.objectives.clipping import log_range
from gmpo.objectives.objective import Clipped, LossInputs, PerToken, check_clip_range, exp_bounded


@dataclass(frozen=True)
class CISPO(PerToken):
    """REINFORCE with clipped weights: no token loses its gradient (arXiv:2506.13585, eq. 4 and 5).

    With ρ_t the ratio of a token, held constant: loss = −Σ_t A·clamp(ρ_t, 1 − clip_low, 1 + clip_high)·log π_t
    over the tokens of the mini-batch. The clip range is in ratio space; clip_low of 1 has no floor.
    """

    clip_low: float = 1.0
    clip_high: float = 0.28

    def __post_init__(self) -> None:
        check_clip_range(clip_low=self.clip_low, clip_high=self.clip_high)

    def loss(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """Return the loss; the correction weighs each token's loss."""
        ratio_BT = exp_bounded(inputs.log_ratio).detach()
        weight_BT = ratio_BT.clamp(1 - self.clip_low, 1 + self.clip_high) * inputs.advantages.unsqueeze(-1)
        if inputs.correction is not None:
            weight_BT = weight_BT * inputs.correction
        return self.average(-weight_BT * inputs.log_probs, inputs.mask, inputs.denominator)

    def clipped(
        self,
        log_ratio: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
    ) -> Clipped:
        """Return the response tokens whose weight is bounded; both sides clip, whatever the advantage's sign."""
        low, high = log_range(self.clip_low, self.clip_high)
        counted = mask & (advantages != 0).unsqueeze(-1)
        return Clipped((log_ratio > high) & counted, (log_ratio < -low) & counted)
