"""What every objective is, and the ratios and averages that they share."""

import math
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Clipped(NamedTuple):
    """Response tokens that the clip range holds back, by the side that can clip."""

    high: Bool[Tensor, "B T"]
    low: Bool[Tensor, "B T"]


class Objective(Protocol):
    """A policy-gradient loss over whole sequences. A sequence of advantage 0 adds nothing to its gradient."""

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
        between engine and trainer; 0 takes a token out. A sequence whose mask is all False counts for nothing.
        """
        ...

    def count(self, mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        """This micro-batch's share of the denominator: sequences, or tokens."""
        ...

    def average(
        self, values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], denominator: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        """This micro-batch's share of the mean of per-token values: how a KL or entropy term is weighed."""
        ...

    def clipped(
        self,
        log_ratio: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
    ) -> Clipped:
        """The response tokens outside of the clip range, on the side that can clip."""
        ...


class PerSequence:
    """Divides by sequences: values are averaged over each sequence's tokens, then over sequences."""

    def count(self, mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Sequences with at least one response token."""
        return mask.any(-1).sum().double()

    def average(
        self, values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], denominator: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        """As `Objective`."""
        return masked_mean(values, mask).sum() / denominator


class PerToken:
    """Divides by tokens: every token of the mini-batch weighs the same."""

    def count(self, mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Response tokens."""
        return mask.sum().double()

    def average(
        self, values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], denominator: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        """As `Objective`."""
        return masked_sum(values, mask).sum() / denominator


def log_ratios(
    log_probs: Float[Tensor, "B T"],
    old_log_probs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
) -> Float[Tensor, "B T"]:
    """log π_θ − log π_old on response tokens, 0 off the mask whatever stands there."""
    return on_mask(log_probs, mask) - on_mask(old_log_probs, mask)


def exp_bounded(log_ratio: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The exponential, of at most half of the exponents that the type holds (44 in float32, 354 in float64).

    Sums over tokens and squares in a gradient norm then stay finite. No ratio near the bound (10^19)
    means anything any more; beyond it there is no gradient.
    """
    bound = math.log(torch.finfo(log_ratio.dtype).max) / 2
    return log_ratio.clamp(-bound, bound).exp()


def on_mask(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """`values` on the mask, 0 elsewhere; what is elsewhere, NaN included, gets no gradient."""
    return torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device))


def masked_sum(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """The sum over each sequence's response tokens."""
    return on_mask(values, mask).sum(-1)


def masked_mean(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """The mean over each sequence's response tokens; 0 for a sequence without any."""
    return masked_sum(values, mask) / mask.sum(-1).clamp(min=1)


def check_clip_range(**values: float) -> None:
    """Refuse clip ranges below 0, by name."""
    for name, value in values.items():
        if not isinstance(value, int | float) or not value >= 0:
            raise ValueError(f"{name} is the width of a clip range and must be at least 0, not {value}")
