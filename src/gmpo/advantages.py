"""Group-relative advantages: the other responses to the same prompt are the baseline."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor


def group_sum(values: Float[Tensor, "B"], group_ids: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
    """Return the sum of `values` over each element's group, for every element."""
    return _reduce(values, group_ids, "sum")


def above_group_minimum(rewards: Float[Tensor, "B"], group_ids: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
    """Return rewards counted from the least of their group.

    Advantages do not change by it, and a group of equal rewards gets exactly 0: rounding in its
    mean, divided by a standard deviation of about 0, would otherwise pass for a signal.
    """
    return rewards - _reduce(rewards, group_ids, "amin")


def _reduce(values: Float[Tensor, "B"], group_ids: Int[Tensor, "B"], how: str) -> Float[Tensor, "B"]:
    groups, group_of = torch.unique(group_ids, return_inverse=True)
    reduced = values.new_zeros(len(groups)).scatter_reduce(0, group_of, values, how, include_self=False)
    return reduced[group_of]


@dataclass(frozen=True)
class GroupNorm:
    """Reward minus its group's mean, over the group's sample standard deviation (GRPO, arXiv:2402.03300).

    Without the division it is Dr.GRPO's advantage (arXiv:2503.20783). A group of one has no
    baseline: its advantage is 0.
    """

    is_group_relative: ClassVar[bool] = True  # a group of one teaches nothing
    normalize_by_std: bool = True
    epsilon: float = 1e-6  # added to the standard deviation

    def __call__(self, rewards: Float[Tensor, "B"], group_ids: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        """Return advantages float [B] of rewards float [B]; group_ids int [B], groups may differ in size."""
        rewards = above_group_minimum(rewards, group_ids)
        size = group_sum(torch.ones_like(rewards), group_ids)
        centred = rewards - group_sum(rewards, group_ids) / size
        centred = torch.where(size > 1, centred, torch.zeros_like(centred))
        if not self.normalize_by_std:
            return centred
        variance = group_sum(centred.square(), group_ids) / (size - 1).clamp(min=1)
        return centred / (variance.sqrt() + self.epsilon)


@dataclass(frozen=True)
class LeaveOneOut:
    """Reward minus the mean of the group's other rewards (RLOO, arXiv:2402.14740); 0 for a group of one."""

    is_group_relative: ClassVar[bool] = True

    def __call__(self, rewards: Float[Tensor, "B"], group_ids: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        """Return advantages float [B] of rewards float [B]; group_ids int [B], groups may differ in size."""
        rewards = above_group_minimum(rewards, group_ids)
        size = group_sum(torch.ones_like(rewards), group_ids)
        others = (group_sum(rewards, group_ids) - rewards) / (size - 1).clamp(min=1)
        return torch.where(size > 1, rewards - others, torch.zeros_like(rewards))
