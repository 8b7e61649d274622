"""The LightningModule on a real model: its gradient does not depend on how a mini-batch is cut."""

import functools

import pytest
import torch
from conftest import make_prompt
from lightning import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader

from gmpo.objectives import GMPO, GRPO
from gmpo.objectives.objective import Objective
from gmpo.policy import PolicyModule
from gmpo.types import Group, PromptBatch, Response, Rollout

OBJECTIVES: list[Objective] = [GMPO(), GRPO(), GRPO(aggregation="sequence_mean")]


def groups(count: int = 4, size: int = 3) -> list[Group]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for index in range(count):
        rollouts = []
        for i in range(size):
            length = int(torch.randint(1, 20, (), generator=generator))
            ids = torch.randint(4, 260, (length,), generator=generator).tolist()
            response = Response(ids, [-3.0] * length, "", False)
            rollouts.append(Rollout(response, float(i), advantage=i - 1.0 + 0.1 * index))
        made.append(Group(make_prompt(f"{index}+{10**index}", index), rollouts))
    return made


def module(folder: str, objective: Objective, budget: int = 10_000, mini_batch_prompts: int = 4) -> PolicyModule:
    return PolicyModule(
        model_path=folder,
        objective=objective,
        optimizer=functools.partial(torch.optim.AdamW, lr=1e-3),
        schedule=functools.partial(LinearLR, start_factor=0.5, total_iters=2),
        mini_batch_prompts=mini_batch_prompts,
        max_tokens_per_micro_batch=budget,
        gradient_clip=1.0,
        temperature=1.0,
        pad_token_id=0,
        dtype="float64",
    )


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def fit(policy: PolicyModule, steps: int = 1, batch: list[Group] | None = None) -> PolicyModule:
    """Through the real Trainer and FSDP2 on one rank."""
    batches = [PromptBatch([], batch or groups()) for _ in range(steps)]
    trainer = Trainer(
        accelerator="cpu",
        strategy=ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=1),
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(policy, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return policy


class GradientOnly(PolicyModule):
    """Keeps the gradient of a mini-batch at weights that have moved, and takes no step."""

    gradient: dict[str, Tensor]

    def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
        (mini_batch,) = self.pack(batch.groups)
        self.fill_old_log_probs([mini_batch])
        for part in mini_batch:  # as if the policy had moved: ratios on both sides of the clip range
            assert part.old_log_probs is not None
            part.old_log_probs += 0.5 * torch.sin(part.token_ids[:, -part.mask.shape[1] :].double())
        self.cuts = len(mini_batch)
        self.accumulate_gradient(mini_batch)
        assert self.model is not None
        self.gradient = {name: whole(p.grad).clone() for name, p in self.model.named_parameters() if p.grad is not None}


def gradient_of(folder: str, objective: Objective, budget: int) -> GradientOnly:
    policy = module(folder, objective, budget)
    policy.__class__ = GradientOnly
    assert isinstance(policy, GradientOnly)
    fit(policy)
    return policy


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_gradient_is_the_same_however_the_mini_batch_is_cut(qwen2_folder: str, objective: Objective) -> None:
    uncut = gradient_of(qwen2_folder, objective, budget=10_000)
    assert uncut.cuts == 1
    for budget in (40, 90, 200):
        cut = gradient_of(qwen2_folder, objective, budget)
        assert cut.cuts > 1
        for name, expected in uncut.gradient.items():
            torch.testing.assert_close(cut.gradient[name], expected, rtol=0, atol=1e-10)


def test_one_optimizer_step_for_each_mini_batch(qwen2_folder: str) -> None:
    policy = fit(module(qwen2_folder, GMPO(), mini_batch_prompts=2), steps=3)
    assert policy.policy_version == 6
    assert policy.trainer.global_step == 6
    assert policy.trainer.fit_loop.epoch_loop.batch_progress.total.completed == 3


def test_the_first_mini_batch_is_on_policy_and_the_next_is_not(qwen2_folder: str) -> None:
    one = fit(module(qwen2_folder, GMPO(), mini_batch_prompts=4)).trainer.callback_metrics
    two = fit(module(qwen2_folder, GMPO(), mini_batch_prompts=2)).trainer.callback_metrics
    assert one["policy/log_ratio_max"] == one["policy/log_ratio_min"] == 0
    assert two["policy/log_ratio_max"] > 0 > two["policy/log_ratio_min"]


def test_updates_make_good_responses_likelier(qwen2_folder: str) -> None:
    policy = fit(module(qwen2_folder, GMPO(), mini_batch_prompts=4), steps=8)
    (after,) = policy.pack(groups())
    fresh = fit(module(qwen2_folder, GMPO()), steps=0)
    (before,) = fresh.pack(groups())
    policy.fill_old_log_probs([after])
    fresh.fill_old_log_probs([before])
    assert after[0].old_log_probs is not None
    assert before[0].old_log_probs is not None
    gain = ((after[0].old_log_probs - before[0].old_log_probs) * after[0].mask).sum(-1)
    assert (gain * after[0].advantages).sum() > 0


def test_a_gradient_that_is_not_finite_ends_the_run_before_it_is_applied(qwen2_folder: str) -> None:
    policy = module(qwen2_folder, GMPO(clip_level="none"))
    batch = groups()
    batch[0].rollouts[0].advantage = float("nan")
    with pytest.raises(FloatingPointError, match="gradient norm is nan"):
        fit(policy, batch=batch)
    assert policy.policy_version == 0
    assert all(whole(tensor).isfinite().all() for _, tensor in policy.weights())


def test_weights_are_the_models_whole_parameters(qwen2_folder: str) -> None:
    policy = fit(module(qwen2_folder, GMPO()), steps=0)
    weights = dict(policy.weights())
    assert policy.model is not None
    assert set(weights) == {name for name, _ in policy.model.named_parameters()}
    assert all(not isinstance(tensor, DTensor) for tensor in weights.values())
