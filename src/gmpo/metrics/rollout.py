"""Metrics of the responses of a rollout step, over all ranks."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import torch

from gmpo.types import Group, Rollout


class RolloutFacts(NamedTuple):
    """The part of a response that metrics need; ranks exchange no more."""

    reward: float
    penalty: float
    tokens: int
    truncated: bool


class GroupFacts(NamedTuple):
    """The part of a group that metrics need, with its prompt."""

    prompt: tuple[str, int]  # benchmark and index
    zero_advantage: bool
    rollouts: list[RolloutFacts]


def facts_of(groups: Sequence[Group]) -> list[GroupFacts]:
    """Return the facts of each group."""
    return [
        GroupFacts(
            (group.prompt.benchmark_name, group.prompt.index),
            group.zero_advantage,
            list(map(_facts_of, group.rollouts)),
        )
        for group in groups
    ]


def _facts_of(rollout: Rollout) -> RolloutFacts:
    response = rollout.response
    return RolloutFacts(rollout.reward, rollout.penalty, len(response.token_ids), response.truncated)


def rollout_metrics(groups: Sequence[GroupFacts]) -> dict[str, float]:
    """Return metrics of all generated responses, discarded ones included; lengths in tokens."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    rewards = torch.tensor([rollout.reward for rollout in rollouts], dtype=torch.float32)
    return {
        "reward/mean": rewards.mean().item(),
        "reward/std": rewards.std(correction=0).item(),
        "reward/penalty": fmean(rollout.penalty for rollout in rollouts),
        "rollout/response_length": fmean(rollout.tokens for rollout in rollouts),
        "rollout/truncated_fraction": fmean(rollout.truncated for rollout in rollouts),
        "rollout/zero_advantage_groups": fmean(group.zero_advantage for group in groups),
    }


def mean_of_reports(reports: Sequence[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Return the mean of the ranks' reward reports, weighted by the responses that each scored."""
    names = list(dict.fromkeys(name for _, report in reports for name in report))
    means = {}
    for name in names:
        having = [(count, report[name]) for count, report in reports if name in report and count]
        total = sum(count for count, _ in having)
        means[name] = sum(count * value for count, value in having) / total if total else 0.0
    return means
