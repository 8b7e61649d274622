"""Weights for the mismatch between the engine, which samples, and the trainer, which computes the gradient.

The weight of a token is w_t = π_old(y_t) / π_engine(y_t): both have the same parameters, but their kernels and
precisions differ.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.objectives.objective import exp_bounded, log_ratios, masked_mean


class Correction(Protocol):
    """Turns log-probs of trainer and engine into weights of the loss."""

    def __call__(
        self,
        old_log_probs: Float[Tensor, "B T"],
        rollout_log_probs: Float[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
    ) -> Float[Tensor, "B T"] | None:
        """Return the weights of the response tokens, constants in the gradient; None leaves the loss as it is."""
        ...

    def touched(
        self,
        old_log_probs: Float[Tensor, "B T"],
        rollout_log_probs: Float[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
    ) -> Bool[Tensor, "N"]:
        """Return whether a bound changed the weight of each token, or of each sequence; empty without bounds."""
        ...


@dataclass(frozen=True)
class NoCorrection:
    """No correction: the engine's distribution is taken for the trainer's."""

    corrects_nothing: ClassVar[bool] = True

    def __call__(
        self,
        old_log_probs: Float[Tensor, "B T"],
        rollout_log_probs: Float[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
    ) -> None:
        """Return None."""

    def touched(
        self,
        old_log_probs: Float[Tensor, "B T"],
        rollout_log_probs: Float[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
    ) -> Bool[Tensor, "N"]:
        """Return an empty tensor."""
        return mask.new_zeros(0)


@dataclass(frozen=True)
class ImportanceSampling:
    """Importance weights with bounds, of tokens or of whole sequences (the product of their tokens' weights).

    mode "truncate" moves a weight outside of [low, high] to the bound (truncated importance sampling, Yao et
    al. 2025, https://fengyao.notion.site/off-policy-rl); "mask" makes it 0, which takes the token or sequence out
    of the gradient (IcePop, arXiv:2510.18855). It stays in the denominator.
    """

    mode: Literal["truncate", "mask"]
    level: Literal["token", "sequence"]
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.mode not in ("truncate", "mask"):
            raise ValueError(f"correction.mode must be truncate or mask, not {self.mode!r}")
        if self.level not in ("token", "sequence"):
            raise ValueError(f"correction.level must be token or sequence, not {self.level!r}")
        if not 0 <= self.low <= 1 <= self.high:
            raise ValueError(
                f"correction.low={self.low}, correction.high={self.high}: the bounds must enclose 1, the weight "
                "without a mismatch, and low must be at least 0"
            )

    def __call__(
        self,
        old_log_probs: Float[Tensor, "B T"],
        rollout_log_probs: Float[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
    ) -> Float[Tensor, "B T"]:
        """Return the weights of the response tokens; values off the mask are meaningless."""
        weight = self._weight(old_log_probs, rollout_log_probs, mask)
        if self.mode == "truncate":
            bounded = weight.clamp(self.low, self.high)
        else:
            bounded = weight.masked_fill(self._outside(weight), 0.0)
        return bounded.expand_as(old_log_probs)

    def touched(
        self,
        old_log_probs: Float[Tensor, "B T"],
        rollout_log_probs: Float[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
    ) -> Bool[Tensor, "N"]:
        outside = self._outside(self._weight(old_log_probs, rollout_log_probs, mask))
        return outside[mask] if self.level == "token" else outside[mask.any(-1)].squeeze(-1)

    def _weight(self, old_log_probs: Tensor, rollout_log_probs: Tensor, mask: Tensor) -> Tensor:
        """Return weights [B, T], or [B, 1] for sequences."""
        log_weight = log_ratios(old_log_probs, rollout_log_probs, mask).detach()
        return exp_bounded(log_weight if self.level == "token" else log_weight.sum(-1, keepdim=True))

    def _outside(self, weight: Tensor) -> Tensor:
        return ~((weight >= self.low) & (weight <= self.high))


def sequence_weight(correction: Float[Tensor, "B T"] | None, mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """Return the geometric mean of each sequence's weights, for objectives with one ratio per sequence.

    Tokens of weight 0 are left out of the mean: a single one would otherwise remove its whole sequence. 0 for
    a sequence with no token left.
    """
    if correction is None:
        return mask.any(-1).float()
    kept = mask & (correction > 0)
    return masked_mean(correction.log(), kept).exp() * kept.any(-1)


def without_removed(log_probs: Float[Tensor, "B T"], correction: Float[Tensor, "B T"] | None) -> Float[Tensor, "B T"]:
    """Return `log_probs`, detached where the weight is 0; like clipped tokens, these still count in the mean."""
    return log_probs if correction is None else torch.where(correction > 0, log_probs, log_probs.detach())
