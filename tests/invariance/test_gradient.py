"""The gradient of a mini-batch does not depend on how it was cut, ordered, padded, or spared of idle responses."""

from dataclasses import replace

import pytest
import torch
from small_training import LOSSES, fit, groups, module, whole
from torch import Tensor
from torch.nn.functional import pad

from gmpo.policy.module import PolicyModule
from gmpo.types import Group, MicroBatch, MiniBatch, PromptBatch


class GradientOnly(PolicyModule):
    """Keeps the gradient of a mini-batch at weights that have moved, and takes no step."""

    gradient: dict[str, Tensor]
    extra_columns = 0
    per_micro_batch_mean = False

    def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
        self.old_log_probs.fill(batch.groups)  # a mini-batch without is on-policy
        (mini_batch,) = self.old_log_probs.mini_batches(batch.groups)
        parts = [moved(part) for part in mini_batch.micro_batches]
        mini_batch.micro_batches = [with_padding(part, self.extra_columns) for part in parts]
        self.cuts = len(parts)
        if self.per_micro_batch_mean:
            for part in mini_batch.micro_batches:
                alone = MiniBatch([part], mini_batch.zero_advantage[:0])
                self.update.accumulate_gradient(alone, self.loss.count(alone) * self.cuts)
        else:
            self.update.accumulate_gradient(mini_batch, self.loss.count(mini_batch))
        assert self.model is not None
        self.gradient = {name: whole(p.grad).clone() for name, p in self.model.named_parameters() if p.grad is not None}


def moved(part: MicroBatch) -> MicroBatch:
    """As if policy, reference and engine had moved apart: ratios on both sides of every range."""
    assert part.old_log_probs is not None
    wave = torch.sin(part.token_ids[:, -part.mask.shape[1] :].double()) * part.mask
    part.rollout_log_probs = part.old_log_probs + 0.8 * wave
    part.old_log_probs = part.old_log_probs + 0.5 * wave
    if part.ref_log_probs is not None:
        part.ref_log_probs = part.ref_log_probs - 0.3 * wave
    return part


def with_padding(part: MicroBatch, columns: int) -> MicroBatch:
    widened = {name: pad(value, (0, columns)) for name, value in per_token(part).items()}
    return replace(part, **widened)


def per_token(part: MicroBatch) -> dict[str, Tensor]:
    names = ("token_ids", "mask", "rollout_log_probs", "old_log_probs", "ref_log_probs")
    return {name: getattr(part, name) for name in names if getattr(part, name) is not None}


def gradient_of(
    folder: str,
    name: str,
    batch: list[Group] | None = None,
    extra_columns: int = 0,
    mean: bool = False,
    **settings: object,
) -> GradientOnly:
    policy = module(folder, LOSSES[name], kind=GradientOnly, **settings)  # type: ignore[arg-type]
    assert isinstance(policy, GradientOnly)
    policy.extra_columns, policy.per_micro_batch_mean = extra_columns, mean
    fit(policy, batch=batch)
    return policy


def difference(one: GradientOnly, other: GradientOnly) -> float:
    assert one.gradient.keys() == other.gradient.keys()
    assert max(tensor.abs().max().item() for tensor in one.gradient.values()) > 1e-3
    return max((one.gradient[name] - other.gradient[name]).abs().max().item() for name in one.gradient)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_the_same_however_the_mini_batch_is_cut(qwen2_folder: str, name: str) -> None:
    uncut = gradient_of(qwen2_folder, name, skip_zero_advantage=False)
    assert uncut.cuts == 1
    for budget in (40, 90, 200):
        cut = gradient_of(qwen2_folder, name, budget=budget, skip_zero_advantage=False)
        assert cut.cuts > 1
        assert difference(cut, uncut) < 1e-10
    other_order = [Group(g.prompt, g.rollouts[::-1]) for g in reversed(groups())]
    assert difference(gradient_of(qwen2_folder, name, other_order, budget=90), uncut) < 1e-10
    assert difference(gradient_of(qwen2_folder, name, extra_columns=7), uncut) < 1e-10
    assert difference(gradient_of(qwen2_folder, name, skip_zero_advantage=True), uncut) < 1e-10


@pytest.mark.parametrize("name", ["gmpo", "grpo"])
def test_a_mean_per_micro_batch_fails_that_test(qwen2_folder: str, name: str) -> None:
    uncut = gradient_of(qwen2_folder, name, mean=True, skip_zero_advantage=False)
    cut = gradient_of(qwen2_folder, name, budget=90, mean=True, skip_zero_advantage=False)
    assert difference(cut, uncut) > 1e-4


def test_what_is_left_out_of_the_loss_counts_for_nothing(qwen2_folder: str) -> None:
    kept = [Group(g.prompt, g.rollouts[:1]) for g in groups()]
    filtered = groups()
    for group in filtered:
        for rollout in group.rollouts[1:]:
            rollout.in_loss = False
    for name in ("gmpo", "grpo"):
        assert difference(gradient_of(qwen2_folder, name, filtered), gradient_of(qwen2_folder, name, kept)) < 1e-10
