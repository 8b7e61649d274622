"""One optimizer step: accumulate the gradient of a mini-batch, clip it, step or skip."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from lightning import LightningModule
from torch import Tensor
from torch.distributed.tensor import DTensor

from gmpo.objectives import PolicyLoss
from gmpo.parallel.fsdp import Sharding
from gmpo.parallel.mesh import Mesh
from gmpo.policy.forward import Forward
from gmpo.policy.old_log_probs import EngineGap
from gmpo.policy.optimization import trained_parameters
from gmpo.types import MiniBatch


@dataclass(frozen=True)
class Skipped:
    """An optimizer step that was skipped because its loss or gradient is infinite or NaN."""

    rollout_step: int
    policy_version: int  # optimizer steps made before
    loss: float  # over all ranks
    gradient_norm: float


OnSkip = Callable[[MiniBatch, Skipped], None]


@dataclass(frozen=True)
class Update:
    """Makes the optimizer steps of a policy. All methods are collective."""

    lightning: LightningModule  # for its optimizer, schedule and trainer
    forward: Forward
    loss: PolicyLoss
    sharding: Sharding
    mesh: Mesh | None
    gap: EngineGap
    gradient_clip: float | None
    max_skipped_steps: int  # in a row; then the run ends
    on_skip: list[OnSkip]  # called for each, on all ranks

    def __call__(self, mini_batch: MiniBatch) -> bool:
        """Accumulate the gradient of a mini-batch and make one optimizer step, or none if nothing is in the loss.

        Return False, on all ranks, if the step is skipped because loss or gradient is infinite or NaN.
        """
        optimizer = self.lightning.optimizers()
        denominator = self._sum_over_ranks(self.loss.count(mini_batch))
        if denominator == 0:
            return True
        loss = self.accumulate_gradient(mini_batch, denominator)
        limit = torch.inf if self.gradient_clip is None else self.gradient_clip
        local_norm = torch.nn.utils.clip_grad_norm_(self.forward.model.parameters(), limit)
        norm = local_norm.full_tensor() if isinstance(local_norm, DTensor) else local_norm
        if not (loss.isfinite() and norm.isfinite()):
            optimizer.zero_grad()
            self._skip(mini_batch, loss.item(), norm.item())
            return False
        optimizer.step()
        optimizer.zero_grad()  # here, so that no gradient takes memory while the engine generates
        self.gap.state.skipped_in_a_row = 0
        self.gap.state.policy_version += 1
        self._step_schedule()
        self.gap.metrics.add_step(loss, norm)
        return True

    def accumulate_gradient(self, mini_batch: MiniBatch, denominator: Tensor) -> Tensor:
        """Add the gradient of a mini-batch to the parameters, however it is split; return its loss.

        denominator: of the loss, over all micro-batches and ranks. FSDP averages gradients over all ranks, so the loss
        is multiplied by their number; cp ranks compute the same loss, each with the gradient of its own tokens.
        """
        model, world_size = self.forward.model, self.lightning.trainer.world_size
        total = torch.zeros((), device=self.lightning.device)
        for number, batch in enumerate(mini_batch.micro_batches, start=1):
            self.sharding.before_backward(model, is_last=number == len(mini_batch.micro_batches))
            batch = batch.to(self.lightning.device)
            log_probs, entropy = self.forward(batch, mini_batch.on_policy or self.loss.entropy_coefficient != 0)
            if batch.old_log_probs is None:
                batch.old_log_probs = log_probs.detach()
            loss = self.loss(log_probs, entropy, batch, denominator, self.gap.state.progress)
            self.lightning.manual_backward(loss * world_size)
            total += loss.detach()
            self.gap.metrics.add_micro_batch(self.loss.objective, batch, log_probs)
            if mini_batch.on_policy:
                self.gap.add(batch, log_probs, entropy)
        self.gap.metrics.add_zero_advantage(mini_batch)
        for parameter in trained_parameters(model):
            if parameter.grad is None:  # all advantages are 0: the optimizer still steps, with a gradient of 0
                parameter.grad = torch.zeros_like(parameter)
        return self._sum_over_ranks(total)

    def _step_schedule(self) -> None:
        try:
            self.lightning.lr_schedulers().step()
        except Exception as error:  # noqa: BLE001  (a schedule of fixed length raises at its end)
            version = self.gap.state.policy_version
            self.gap.state.stop(
                f"the schedule has no step after optimizer step {version} ({error}): lengthen it by "
                "schedule.KEY=VALUE, and resume with resume=RUN_FOLDER"
            )

    def _skip(self, mini_batch: MiniBatch, loss: float, norm: float) -> None:
        state = self.gap.state
        skipped = Skipped(state.rollout_step, state.policy_version, loss, norm)
        for tell in self.on_skip:
            tell(mini_batch, skipped)
        state.skipped_in_a_row += 1
        if state.skipped_in_a_row < self.max_skipped_steps:
            return
        finite = all(batch.advantages.isfinite().all() for batch in mini_batch.micro_batches)
        remedy = (
            "lower optimizer.lr or narrow the clip range" if finite else "fix the reward: advantages are not finite"
        )
        state.stop(
            f"{state.skipped_in_a_row} optimizer steps in a row were skipped, the last one in rollout step "
            f"{skipped.rollout_step} with loss {loss} and gradient norm {norm}: {remedy}, and resume with "
            "resume=RUN_FOLDER (its skipped_updates/ holds the batches)"
        )
        state.skipped_in_a_row = 0  # a resumed run counts anew

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        """Sum over one rank of each data-parallel group: the others count the same sequences."""
        group = None if self.mesh is None else self.mesh.data_parallel_group
        return self.lightning.trainer.strategy.reduce(value.to(self.lightning.device), group, reduce_op="sum")
