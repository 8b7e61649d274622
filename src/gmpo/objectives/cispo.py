"""Clipped importance-sampling weights (MiniMax-M1)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.objectives.clipping import log_range
from gmpo.objectives.objective import Clipped, PerToken, check_clip_range, exp_bounded, log_ratios


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

    def __call__(
        self,
        log_probs: Float[Tensor, "B T"],
        old_log_probs: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
        denominator: Float[Tensor, ""],
        correction: Float[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, ""]:
        """As `Objective`; the correction weighs each token's loss."""
        ratio_BT = exp_bounded(log_ratios(log_probs, old_log_probs, mask)).detach()
        weight_BT = ratio_BT.clamp(1 - self.clip_low, 1 + self.clip_high) * advantages.unsqueeze(-1)
        if correction is not None:
            weight_BT = weight_BT * correction
        return self.average(-weight_BT * log_probs, mask, denominator)

    def clipped(
        self,
        log_ratio: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
    ) -> Clipped:
        """The response tokens whose weight is bounded; both sides clip, whatever the advantage's sign."""
        low, high = log_range(self.clip_low, self.clip_high)
        counted = mask & (advantages != 0).unsqueeze(-1)
        return Clipped((log_ratio > high) & counted, (log_ratio < -low) & counted)
