"""What every objective is, and the clipping and averaging that they share."""

from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Objective(Protocol):
    """A policy-gradient loss over whole sequences."""

    def __call__(
        self,
        log_probs: Float[Tensor, "B T"],
        old_log_probs: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
        denominator: Float[Tensor, ""],
        correction: Float[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of a micro-batch, differentiable in `log_probs`; summed over micro-batches it is the mini-batch's.

        mask is True on response tokens. denominator is what this objective divides by, summed over
        the whole mini-batch: all micro-batches and all ranks. correction holds weights for the mismatch
        between engine and trainer. A sequence whose mask is all False counts for nothing.
        """
        ...

    def count(self, mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        """This micro-batch's share of the denominator: sequences, or tokens."""
        ...

    def clipped(
        self,
        log_ratio: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
    ) -> Bool[Tensor, "B T"]:
        """The response tokens that give no gradient because they are clipped, on the side that can clip."""
        ...


def log_ratios(
    log_probs: Float[Tensor, "B T"], old_log_probs: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """log π_θ − log π_old on response tokens, 0 elsewhere whatever stands there."""
    zero = torch.zeros((), dtype=log_probs.dtype, device=log_probs.device)
    return torch.where(mask, log_probs, zero) - torch.where(mask, old_log_probs, zero)


def without_zero_advantages(log_ratio: Float[Tensor, "B T"], advantages: Float[Tensor, "B"]) -> Float[Tensor, "B T"]:
    """A log-ratio of 0 where the advantage is 0: an overflowing ratio would turn "no signal" into 0·∞."""
    return log_ratio.masked_fill((advantages == 0).unsqueeze(-1), 0.0)


def count_sequences(mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Sequences with at least one response token."""
    return mask.any(-1).sum().float()


def count_tokens(mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Response tokens."""
    return mask.sum().float()


def masked_sum(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """The sum over each sequence's response tokens."""
    return torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device)).sum(-1)


def masked_mean(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """The mean over each sequence's response tokens; 0 for a sequence without any."""
    return masked_sum(values, mask) / mask.sum(-1).clamp(min=1)


def check_clip_range(**values: float) -> None:
    """Refuse clip ranges below 0, by name."""
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name} is the width of a clip range and must be at least 0, not {value}")
