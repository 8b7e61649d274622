"""The second half of a rollout step: groups become new weights."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule
from torch import Tensor
from transformers import PreTrainedModel

from gmpo.batching import BatchingConfig, Cost
from gmpo.compat import forget_logged
from gmpo.metrics.update import UpdateMetrics
from gmpo.models.pretrained import Pretrained, cost_of
from gmpo.models.weights import whole_weights
from gmpo.objectives import PolicyLoss
from gmpo.parallel.distribute import Distribution
from gmpo.parallel.strategy import MeshStrategy
from gmpo.policy import optimization
from gmpo.policy.forward import Forward
from gmpo.policy.old_log_probs import EngineGap, OldLogProbs
from gmpo.policy.reference import Reference
from gmpo.policy.update import OnSkip, Update
from gmpo.run.state import RunState
from gmpo.types import PromptBatch

log = logging.getLogger(__name__)


class PolicyModule(LightningModule):
    """Updates a causal language model on rollouts, several optimizer steps for each batch.

    Args:
        optimizer, schedule: called with the parameters, and with the optimizer; both step together.
        mini_batch_prompts: prompts of one optimizer step, over all ranks.
        max_tokens_per_micro_batch: on each rank; the cp ranks that share a micro-batch pool their budgets.
        max_tokens_per_log_prob_batch: the same for passes without a gradient.
        max_logits_per_chunk: as in `Chunks`. gradient_clip: the largest norm over all parameters; null: none.
        temperature: of the sampling; it divides the logits, so that ratios compare the distributions sampled from.
        old_log_probs: source of the behaviour policy's log-probs: a pass of the trainer, or the engine's rollout.
        skip_zero_advantage: responses of advantage 0 skip the update's passes if the loss has no other term for them.
        reference_on_cpu: keep the reference model, if any, out of the GPU's memory.
        max_skipped_steps: this many optimizer steps in a row without a finite loss and gradient end the run.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        loss: PolicyLoss,
        optimizer: optimization.BuildOptimizer,
        schedule: optimization.BuildSchedule,
        mini_batch_prompts: int,
        max_tokens_per_micro_batch: int,
        max_tokens_per_log_prob_batch: int,
        gradient_clip: float | None,
        temperature: float,
        pad_token_id: int,
        old_log_probs: Literal["trainer", "rollout"] = "trainer",
        skip_zero_advantage: bool = True,
        reference_on_cpu: bool = False,
        max_skipped_steps: int = 10,
        max_logits_per_chunk: int | None = None,
        state: RunState | None = None,
    ) -> None:
        super().__init__()
        if old_log_probs not in ("trainer", "rollout"):
            raise ValueError(f"policy.old_log_probs={old_log_probs} must be trainer or rollout")
        self.automatic_optimization = False
        self.pretrained = pretrained
        self.loss = loss
        self.build_optimizer = optimizer
        self.build_schedule = schedule
        self.config = BatchingConfig(
            mini_batch_prompts,
            max_tokens_per_micro_batch,
            max_tokens_per_log_prob_batch,
            Cost(),
            pretrained.packed,
            skip_zero_advantage and not loss.learns_from_zero_advantage,
        )
        self.max_logits_per_chunk = max_logits_per_chunk
        self.gradient_clip = gradient_clip
        self.temperature = temperature
        self.pad_token_id = pad_token_id
        self.origin = old_log_probs
        self.reference_on_cpu = reference_on_cpu
        self.max_skipped_steps = max_skipped_steps
        self.state = state or RunState()
        self.model: PreTrainedModel | None = None
        self.update_metrics = UpdateMetrics()
        self.on_skip: list[OnSkip] = []  # called for each skipped optimizer step, on all ranks
        self._trained = 0  # the last rollout step whose update began

    def configure_model(self) -> None:
        """Load the weights, and those of the reference if needed, sharded over the ranks."""
        if self.model is not None:
            return
        strategy = None if self._trainer is None else self.trainer.strategy
        mesh = strategy.mesh if isinstance(strategy, MeshStrategy) else None  # None: one process has everything
        self.model = self.pretrained.load(mesh)
        self.pretrained.sharding.checkpoint_activations(self.model)
        cp_group = None if mesh is None else mesh.context_parallel_group
        forward = Forward(self.model, self.temperature, self.pretrained.packed, cp_group, self.max_logits_per_chunk)
        reference = (
            Reference(self.pretrained, forward, mesh, self.reference_on_cpu) if self.loss.kl.needs_reference else None
        )
        distribute = Distribution(replace(self.config, cost=cost_of(self.model)), mesh)
        gap = EngineGap(self.update_metrics, self.loss.correction, self.state)
        self.old_log_probs = OldLogProbs(self.origin, distribute, forward, reference, gap, self, self.pad_token_id)
        self.update = Update(
            lightning=self,
            forward=forward,
            loss=self.loss,
            sharding=self.pretrained.sharding,
            mesh=mesh,
            gap=gap,
            gradient_clip=self.gradient_clip,
            max_skipped_steps=self.max_skipped_steps,
            on_skip=self.on_skip,
        )

    def configure_optimizers(self) -> dict[str, object]:
        """Build the optimizer and its schedule, which `training_step` steps by hand."""
        assert self.model is not None, "configure_model() comes first"
        optimizer = self.build_optimizer(optimization.trained_parameters(self.model))
        return {"optimizer": optimizer, "lr_scheduler": self.build_schedule(optimizer)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the run's counts and the source of config and tokenizer, as an absolute path where it is a folder."""
        folder = Path(self.pretrained.path)
        checkpoint["base_model"] = str(folder.resolve()) if folder.is_dir() else self.pretrained.path
        checkpoint["overrides"] = dict(self.pretrained.overrides)
        checkpoint["policy"] = self.state.state_dict()
        checkpoint["optimizer"] = optimization.class_name(self.optimizers(use_pl_optimizer=False))
        checkpoint["lr_schedulers"] = []  # a schedule follows from its settings and the count of optimizer steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counts, and advance this run's own schedule to the count of optimizer steps."""
        optimization.check_optimizer(checkpoint.get("optimizer"), self.optimizers(use_pl_optimizer=False))
        self.state.load_state_dict(checkpoint["policy"])
        self._trained = self.state.rollout_step
        checkpoint["lr_schedulers"] = []  # older checkpoints have one: Lightning would load its settings too
        optimization.resume_schedule(self.lr_schedulers(), self.state.policy_version)

    def transfer_batch_to_device(self, batch: PromptBatch, device: object, dataloader_idx: int) -> PromptBatch:
        """Return the batch itself: it holds no tensors, and callbacks fill in this very object."""
        return batch

    def on_train_batch_start(self, batch: PromptBatch, batch_idx: int) -> int | None:
        """Skip the remaining batches if training ended with the step before: -1 has Lightning do so."""
        return -1 if self.state.stop_reason and self.state.rollout_step == self._trained else None

    def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Make one optimizer step for each mini-batch of the groups that the rollout callback filled in."""
        self._trained = self.state.rollout_step
        if self.state.stop_reason:
            return
        forget_logged(self.trainer, "training_step")
        before, skipped = self.state.policy_version, 0
        for mini_batch in self.old_log_probs.mini_batches(batch.groups):
            with self.state.clock("update"):
                skipped += not self.update(mini_batch)
            if self.state.stop_reason:
                break
        if self.state.policy_version == before and not skipped:
            log.warning("step %d: every response is left out of the loss, nothing is learned", self.state.rollout_step)
        self.log("policy/skipped_steps", float(skipped))
        self.log_dict(self.update_metrics.compute_and_reset())
        self.log("policy/learning_rate", self.lr_schedulers().get_last_lr()[0])

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Do nothing: the rollout callback has scored the batch, the evaluation callback reports it."""

    @property
    def policy_version(self) -> int:
        """Number of optimizer steps made."""
        return self.state.policy_version

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype that the model computes in."""
        return self.pretrained.compute_dtype

    def weights(self, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
        """Yield the weights as `whole_weights` does; every rank must iterate to the end."""
        assert self.model is not None, "configure_model() comes first"
        return whole_weights(self.model, self.device, dtype)
