"""The base class of objectives, their inputs, and the ratios and averages that they share."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Clipped(NamedTuple):
    """Clipped response tokens, by the side that clips."""

    high: Bool[Tensor, "B T"]
    low: Bool[Tensor, "B T"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossInputs:
    """Everything that the loss of one micro-batch may depend on; a row is a whole sequence."""

    log_probs: Float[Tensor, "B T"]  # of the policy; the loss is differentiable in them
    old_log_probs: Float[Tensor, "B T"]  # of the policy that sampled
    advantages: Float[Tensor, "B"]
    mask: Bool[Tensor, "B T"]  # True on response tokens; elsewhere the other tensors may hold anything
    denominator: Float[Tensor, ""]  # the sum of `count` over the mini-batch: all micro-batches, all ranks
    correction: Float[Tensor, "B T"] | None = None  # weights for the engine/trainer mismatch; 0 removes a token
    ref_log_probs: Float[Tensor, "B T"] | None = None  # of the reference, where there is one
    entropy: Float[Tensor, "B T"] | None = None  # of the policy, where it was computed
    progress: float = 0.0  # of the run, from 0 to 1

    @property
    def lengths(self) -> Int[Tensor, "B"]:
        """Response tokens of each sequence."""
        return self.mask.sum(-1)

    @property
    def log_ratio(self) -> Float[Tensor, "B T"]:
        """log π_θ − log π_old on response tokens, 0 elsewhere."""
        return log_ratios(self.log_probs, self.old_log_probs, self.mask)


class Objective(ABC):
    """A policy-gradient loss over whole sequences."""

    learns_from_zero_advantage: ClassVar[bool] = (
        False  # a sequence of advantage 0 has a gradient; False: it skips the model
    )

    @abstractmethod
    def loss(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """Return the loss of a micro-batch; summed over micro-batches it is the mini-batch's.

        A sequence whose mask is all False does not count.
        """

    @abstractmethod
    def count(self, mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Return this micro-batch's part of the denominator: sequences, or tokens."""

    @abstractmethod
    def average(
        self, values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], denominator: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        """Return this micro-batch's part of the mean of per-token values, for a KL or entropy term."""

    def clipped(
        self,
        log_ratio: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
    ) -> Clipped:
        """Return the clipped response tokens: here none."""
        return Clipped(torch.zeros_like(mask), torch.zeros_like(mask))

    def __call__(
        self,
        log_probs: Float[Tensor, "B T"],
        old_log_probs: Float[Tensor, "B T"],
        advantages: Float[Tensor, "B"],
        mask: Bool[Tensor, "B T"],
        denominator: Float[Tensor, ""],
        correction: Float[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return `loss` of these inputs, named as in `LossInputs`."""
        return self.loss(
            LossInputs(
                log_probs=log_probs,
                old_log_probs=old_log_probs,
                advantages=advantages,
                mask=mask,
                denominator=denominator,
                correction=correction,
            )
        )


class PerSequence(Objective):
    """An objective that divides by sequences: values are averaged over each sequence's tokens, then over sequences."""

    def count(self, mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        return count_sequences(mask)

    def average(
        self, values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], denominator: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        return masked_mean(values, mask).sum() / denominator


class PerToken(Objective):
    """An objective that divides by tokens: every token of the mini-batch has the same weight."""

    def count(self, mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
        return count_tokens(mask)

    def average(
        self, values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], denominator: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        return masked_sum(values, mask).sum() / denominator


def count_sequences(mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Return the number of sequences with at least one response token."""
    return mask.any(-1).sum().double()


def count_tokens(mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Return the number of response tokens."""
    return mask.sum().double()


def log_ratios(
    log_probs: Float[Tensor, "B T"],
    old_log_probs: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
) -> Float[Tensor, "B T"]:
    """Return log π_θ − log π_old on response tokens, and 0 off the mask whatever is there."""
    return on_mask(log_probs, mask) - on_mask(old_log_probs, mask)


def exp_bounded(log_ratio: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the exponential, of at most half of the type's largest exponent (44 in float32, 354 in float64).

    Sums over tokens and squares in a gradient norm then stay finite. A ratio near the bound (10^19) is meaningless;
    beyond it there is no gradient.
    """
    bound = math.log(torch.finfo(log_ratio.dtype).max) / 2
    return log_ratio.clamp(-bound, bound).exp()


def on_mask(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Return `values` on the mask, 0 elsewhere; what is elsewhere, NaN included, gets no gradient."""
    return torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device))


def masked_sum(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """Return the sum over each sequence's response tokens."""
    return on_mask(values, mask).sum(-1)


def masked_mean(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """Return the mean over each sequence's response tokens; 0 for a sequence without any."""
    return masked_sum(values, mask) / mask.sum(-1).clamp(min=1)


def check_clip_range(**values: float) -> None:
    """Raise ValueError, with its name, for a clip range below 0."""
    for name, value in values.items():
        if not isinstance(value, int | float) or not value >= 0:
            raise ValueError(f"{name} is the width of a clip range and must be at least 0, not {value}")
