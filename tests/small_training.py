"""A small real model in float64 through the real Trainer: what tests of the policy share."""

import functools

import torch
from conftest import make_prompt
from formulas import CASES
from lightning import Callback, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader

from gmpo.models.pretrained import Pretrained
from gmpo.objectives import GMPO, GRPO, HMPO, ImportanceSampling, KLPenalty, PolicyLoss
from gmpo.parallel.fsdp import Sharding
from gmpo.parallel.strategy import MeshStrategy
from gmpo.policy.module import PolicyModule
from gmpo.types import Group, PromptBatch, Response, Rollout

KL = KLPenalty(0.1)
LOSSES = {case.name: PolicyLoss(case.objective) for case in CASES} | {
    "gmpo_kl_entropy": PolicyLoss(GMPO(), KL, 0.01),
    "grpo_kl_entropy": PolicyLoss(GRPO(), KL, 0.01),
    "gmpo_corrected": PolicyLoss(GMPO(), correction=ImportanceSampling("mask", "token", 0.5, 2.0)),
    "hmpo_everything": PolicyLoss(HMPO(), KL, 0.01, ImportanceSampling("truncate", "token", 0.0, 2.0)),
    "grpo_corrected": PolicyLoss(GRPO(), correction=ImportanceSampling("truncate", "sequence", 0.0, 2.0)),
}


def groups(count: int = 4, size: int = 3) -> list[Group]:
    """The last response of each group carries no signal, and neither does any of the second group."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for index in range(count):
        rollouts = []
        for i in range(size):
            length = int(torch.randint(1, 20, (), generator=generator))
            ids = torch.randint(4, 260, (length,), generator=generator).tolist()
            advantage = 0.0 if i == size - 1 or index == 1 else 1.0 - 2 * i + 0.1 * index
            rollouts.append(Rollout(Response(ids, [-3.0] * length, "", False), float(i), advantage))
        made.append(Group(make_prompt(f"{index}+{10**index}", index), rollouts))
    return made


def module(
    folder: str,
    loss: PolicyLoss = LOSSES["gmpo"],
    budget: int = 10_000,
    mini_batch_prompts: int = 4,
    kind: type[PolicyModule] = PolicyModule,
    dtype: str = "float64",
    attention: str = "sdpa",
    experts: str | None = None,
    sharding: Sharding | None = None,
    **settings: object,
) -> PolicyModule:
    return kind(
        pretrained=Pretrained(folder, dtype, attention, experts, sharding=sharding or Sharding()),
        loss=loss,
        optimizer=functools.partial(torch.optim.AdamW, lr=1e-3),
        schedule=functools.partial(LinearLR, start_factor=0.5, total_iters=2),
        mini_batch_prompts=mini_batch_prompts,
        max_tokens_per_micro_batch=budget,
        max_tokens_per_log_prob_batch=budget,
        gradient_clip=1.0,
        temperature=1.0,
        pad_token_id=0,
        **settings,  # type: ignore[arg-type]
    )


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def fit(policy: PolicyModule, steps: int = 1, batch: list[Group] | None = None) -> PolicyModule:
    """Through the real Trainer and FSDP2 on one rank."""
    batches = [PromptBatch([], batch or groups()) for _ in range(steps)]
    quiet_trainer().fit(policy, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return policy


def quiet_trainer(*callbacks: Callback) -> Trainer:
    """One that trains on one rank and does nothing else."""
    return Trainer(
        accelerator="cpu",
        strategy=MeshStrategy(),
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
