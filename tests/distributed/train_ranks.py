"""Each rank of a torchrun trains the cases of a JSON file, one after the other: `train_ranks.py CASES.json OUTPUT`.

Rank 0 writes OUTPUT/NAME.safetensors: the gradient of the first mini-batch that has one, the weights in the end, and
the metrics of the last rollout step. A case says how ranks are arranged and the batch is cut; what comes out must not
depend on it.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from safetensors.torch import save_file
from small_training import LOSSES, groups, module, whole
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from gmpo.parallel.collectives import rank, world_size
from gmpo.parallel.fsdp import Sharding
from gmpo.parallel.strategy import MeshStrategy, leave
from gmpo.policy.module import PolicyModule
from gmpo.policy.update import Update
from gmpo.run.launch import end_with_parent
from gmpo.types import Group, MiniBatch, PromptBatch

STEPS = 2  # rollout steps; with two mini-batches each, four optimizer steps
QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
Case = dict[str, Any]


class Recorded(PolicyModule):
    """Keeps the gradient of its first mini-batch, before it is clipped."""

    gradient: dict[str, Tensor]

    def configure_model(self) -> None:
        super().configure_model()
        policy = self

        class Recording(Update):
            def accumulate_gradient(self, mini_batch: MiniBatch, denominator: Tensor) -> Tensor:
                loss = super().accumulate_gradient(mini_batch, denominator)
                if self.gap.state.policy_version == 0:
                    named = self.forward.model.named_parameters()
                    policy.gradient = {name: whole(p.grad).clone() for name, p in named if p.grad is not None}
                return loss

        self.update = Recording(**vars(self.update))


def batch_of(kind: str) -> list[Group]:
    """The groups of all ranks, in the order of the batch; two ranks have every other one."""
    made = groups(8)
    if kind == "wild":  # one rank's responses have one token, another's hundreds
        for number, group in enumerate(made):
            for rollout in group.rollouts:
                response = rollout.response
                length = 1 if number % 2 else 450
                token_ids = (list(response.token_ids) * length)[:length]
                rollout.response = replace(response, token_ids=token_ids, log_probs=[-3.0] * length)
    if kind == "idle_rank":
        for group in made[::2]:
            for rollout in group.rollouts:
                rollout.advantage = 0.0
    if kind == "nothing":  # in the loss of the first mini-batch, and nothing to learn in the second
        for number, group in enumerate(made):
            for rollout in group.rollouts:
                rollout.in_loss = number >= 4
                rollout.advantage = 0.0
    return made


class Batches(IterableDataset):
    """What each rank's engine has made."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Iterator[PromptBatch]:
        for _ in range(STEPS):
            yield PromptBatch([], batch_of(self.kind)[rank() :: world_size()])


def train(case: Case) -> Recorded:
    """Through the real Trainer, over all ranks there are."""
    policy = module(
        case["folder"],
        LOSSES[case["loss"]],
        budget=case["budget"],
        mini_batch_prompts=4,
        kind=Recorded,
        dtype=case["dtype"],
        attention=case["attention"],
        experts=case["experts"],
        sharding=Sharding(**case["sharding"]),
        skip_zero_advantage=case["skip"],
        max_logits_per_chunk=case["max_logits_per_chunk"],
    )
    assert isinstance(policy, Recorded)
    trainer = Trainer(
        accelerator="cpu",
        devices=int(case["ranks"]),
        strategy=MeshStrategy(**case["layout"]),
        max_epochs=1,
        use_distributed_sampler=False,
        **QUIET,  # type: ignore[arg-type]
    )
    trainer.fit(policy, DataLoader(Batches(case["batch"]), batch_size=None))  # type: ignore[arg-type]
    return policy


def results(policy: Recorded) -> dict[str, Tensor]:
    """All that must not depend on the ranks."""
    metrics = policy.trainer.callback_metrics
    found = {f"metric.{name}": value for name, value in metrics.items() if not name.startswith("throughput/")}
    found |= {f"weight.{name}": tensor for name, tensor in policy.weights()}
    found |= {f"gradient.{name}": tensor for name, tensor in policy.gradient.items()}
    return {name: tensor.clone().contiguous() for name, tensor in found.items()}


def main() -> None:
    """Train every case."""
    end_with_parent()
    torch.set_num_threads(1)
    for name, case in json.loads(Path(sys.argv[1]).read_text()).items():
        tensors = results(train(case))
        if rank() == 0:
            save_file(tensors, Path(sys.argv[2], f"{name}.safetensors"))
    leave()


if __name__ == "__main__":
    main()
