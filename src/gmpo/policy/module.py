"""The LightningModule: from a scored batch to new weights."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from gmpo.batching import BatchingConfig, Cost, pad_sequences, response_rows
from gmpo.compat import forget_logged
from gmpo.metrics.clock import StepClock
from gmpo.metrics.update import UpdateMetrics
from gmpo.models.log_probs import Values, response_log_probs
from gmpo.models.pretrained import Pretrained, cost_of
from gmpo.models.weights import whole_weights
from gmpo.objectives import PolicyLoss
from gmpo.parallel.collectives import rank
from gmpo.parallel.distribute import RankBatch, distribute
from gmpo.parallel.fsdp import reshard
from gmpo.parallel.mesh import Mesh
from gmpo.parallel.strategy import MeshStrategy
from gmpo.policy.optimization import BuildOptimizer, BuildSchedule, advance, class_name, trained_parameters
from gmpo.policy.reference import Reference
from gmpo.run.errors import RunError
from gmpo.types import Group, MicroBatch, MiniBatch, PromptBatch, Rollout

log = logging.getLogger(__name__)

COUNTED = ("rollout_step", "policy_version", "skipped_in_a_row")  # what a checkpoint holds beside tensors


@dataclass(frozen=True)
class Skipped:
    """An optimizer step that was not made, because loss or gradient is infinite or not a number."""

    rollout_step: int
    policy_version: int  # optimizer steps made before
    loss: float  # over all ranks
    gradient_norm: float


class PolicyModule(LightningModule):
    """Updates a causal language model on rollouts, several optimizer steps for each batch.

    pretrained: the model. optimizer: takes parameters. schedule: takes the optimizer, and is stepped once for each
    optimizer step. mini_batch_prompts: prompts of one optimizer step, over all ranks. max_tokens_per_micro_batch: on
    each rank; the cp ranks that share a micro-batch hold so many tokens together as their budgets make.
    max_tokens_per_log_prob_batch: the same of passes without a gradient. max_logits_per_chunk: as `Chunks` has it.
    gradient_clip: the largest norm of a gradient over all parameters; null: none.
    temperature: of the sampling; it divides the logits, so that ratios compare the distributions sampled from.
    old_log_probs: where those of the behaviour policy come from, a pass of the trainer or the engine's rollout.
    skip_zero_advantage: responses of advantage 0 skip the update's passes where the loss has no other term for them.
    reference_on_cpu: the reference model, where there is one, leaves a GPU's memory to the policy.
    max_skipped_steps: so many optimizer steps in a row without a finite loss and gradient end the run.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        loss: PolicyLoss,
        optimizer: BuildOptimizer,
        schedule: BuildSchedule,
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
    ) -> None:
        super().__init__()
        if old_log_probs not in ("trainer", "rollout"):
            raise ValueError(f"policy.old_log_probs={old_log_probs} must be trainer or rollout")
        self.automatic_optimization = False
        self.pretrained = pretrained
        self.loss = loss
        self.build_optimizer = optimizer
        self.build_schedule = schedule
        self.mini_batch_prompts = mini_batch_prompts
        self.max_tokens_per_micro_batch = max_tokens_per_micro_batch
        self.max_tokens_per_log_prob_batch = max_tokens_per_log_prob_batch
        self.max_logits_per_chunk = max_logits_per_chunk
        self.gradient_clip = gradient_clip
        self.temperature = temperature
        self.pad_token_id = pad_token_id
        self.old_log_probs = old_log_probs
        self.skip_zero_advantage = skip_zero_advantage and not loss.learns_from_zero_advantage
        self.reference_on_cpu = reference_on_cpu
        self.max_skipped_steps = max_skipped_steps
        self.mesh: Mesh | None = None  # None where one process has everything
        self.model: PreTrainedModel | None = None
        self.reference: Reference | None = None  # where the loss or the reward has a KL
        self.cost = Cost()
        self.update_metrics = UpdateMetrics()
        self.clock = StepClock()
        self.rollout_step = 0  # rollout steps begun; 0 before the first
        self.policy_version = 0  # optimizer steps taken
        self.skipped_in_a_row = 0  # optimizer steps, up to the last one
        self.staleness = 0  # optimizer steps that the weights which sampled this rollout step are behind its first ones
        self.on_skip: list[Callable[[MiniBatch, Skipped], None]] = []  # told each time, on all ranks
        self._trained = 0  # the last rollout step that came to its update
        self.ends_because: str | None = None  # once set, training ends without a further update

    def configure_model(self) -> None:
        """Load the weights, and the reference's if it is needed, sharded over the ranks."""
        if self.model is not None:
            return
        if self._trainer is not None and isinstance(self.trainer.strategy, MeshStrategy):
            self.mesh = self.trainer.strategy.mesh
        self.model = self.pretrained.load(self.mesh)
        self.pretrained.sharding.checkpoint_activations(self.model)
        self.cost = cost_of(self.model)
        if self.loss.kl.needs_reference:
            self.reference = Reference(self.pretrained, self.mesh, self.reference_on_cpu)

    def configure_optimizers(self) -> dict[str, object]:
        """The optimizer and its schedule, which `training_step` steps by hand."""
        optimizer = self.build_optimizer(trained_parameters(self._policy))
        return {"optimizer": optimizer, "lr_scheduler": self.build_schedule(optimizer)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say how far it has come, and where config and tokenizer come from, wherever the checkpoint is read."""
        folder = Path(self.pretrained.path)
        checkpoint["base_model"] = str(folder.resolve()) if folder.is_dir() else self.pretrained.path
        checkpoint["overrides"] = dict(self.pretrained.overrides)
        checkpoint["policy"] = {name: getattr(self, name) for name in COUNTED}
        checkpoint["optimizer"] = class_name(self.optimizers(use_pl_optimizer=False))
        checkpoint["lr_schedulers"] = []  # a schedule follows from its settings and the count of optimizer steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counts, and bring the schedule, as this run has it, to the count of optimizer steps."""
        before, now = checkpoint.get("optimizer"), class_name(self.optimizers(use_pl_optimizer=False))
        if before not in (None, now):  # older checkpoints do not say
            raise RunError(
                f"the checkpoint's optimizer was {before}, this run's is {now}, which cannot take over its state: "
                "resume with the same class of optimizer, or start anew by resume=never"
            )
        for name in COUNTED:
            setattr(self, name, checkpoint["policy"][name])
        self._trained = self.rollout_step
        checkpoint["lr_schedulers"] = []  # of older checkpoints: Lightning would load its settings too
        try:
            advance(self.lr_schedulers(), self.policy_version)
        except Exception as error:
            raise RunError(
                f"the schedule cannot be brought to optimizer step {self.policy_version}, where the checkpoint stands "
                f"({error}): mend its settings, schedule.KEY=VALUE"
            ) from error

    def transfer_batch_to_device(self, batch: PromptBatch, device: object, dataloader_idx: int) -> PromptBatch:
        """The batch itself: it holds no tensors, and callbacks fill in this very object."""
        return batch

    def weights(self, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
        """As `whole_weights`; every rank must iterate to the end."""
        return whole_weights(self._policy, self.device, dtype)

    def on_train_batch_start(self, batch: PromptBatch, batch_idx: int) -> int | None:
        """Skip what is left where training has ended with the step before (Lightning takes -1 so)."""
        return -1 if self.ends_because and self.rollout_step == self._trained else None

    def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """One optimizer step for each mini-batch of the groups that the rollout callback filled in."""
        self._trained = self.rollout_step
        if self.ends_because:
            return
        forget_logged(self.trainer, "training_step")
        version, skipped = self.policy_version, 0
        for index, mini_batch in enumerate(self.pack(batch.groups)):
            with self.clock("update"):
                skipped += not self.update(mini_batch, on_policy=index == 0)
            if self.ends_because:
                break
        self.log("policy/skipped_steps", float(skipped))
        if self.policy_version == version and not skipped:
            log.warning("step %d: every response is left out of the loss, nothing is learned", self.rollout_step)
        self.log_dict(self.update_metrics.compute_and_reset())
        self.log("policy/learning_rate", self.lr_schedulers().get_last_lr()[0])

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Nothing to do: the rollout callback has scored the batch, the evaluation callback reports it."""

    def pack(self, groups: list[Group]) -> list[MiniBatch]:
        """This rank's part of each mini-batch, with the log-probs from before any update; collective.

        groups: those that this rank holds; it may train others. Mini-batches are of whole groups. The first one goes
        without old log-probs of the trainer: those of its own update's pass are the same.
        """
        share = self.share(groups)
        self._fill(share, first=1)
        self.update_metrics.add_plan(share.plan)
        return share.mini_batches(self.pad_token_id)

    def fill_log_probs(self, groups: list[Group]) -> None:
        """Fill in log-probs of responses under the behaviour policy and the reference; collective.

        Responses that have them are left as they are. Those left out of the loss get none, unless the KL to the
        reference is to be taken off their reward.
        """
        share = self.share(groups, everything=self.loss.kl.in_reward)
        self._fill(share, with_zero_advantage=True)
        share.give_back(groups, has_own_share=rank() % self._cp == 0)

    def share(self, groups: list[Group], everything: bool = False) -> RankBatch:
        """What this rank trains of the groups that all ranks hold; as `distribute`."""
        config = BatchingConfig(
            self.mini_batch_prompts,
            self.max_tokens_per_micro_batch * self._cp,
            self.max_tokens_per_log_prob_batch * self._cp,
            self.cost,
            self.pretrained.packed,
            self.skip_zero_advantage,
        )
        ranks = 1 if self.mesh is None else self.mesh.layout.data_parallel
        with self.clock("exchange"):
            return distribute(groups, config, ranks, lambda other: other // self._cp, everything)

    @torch.no_grad()
    def _fill(self, share: RankBatch, first: int = 0, with_zero_advantage: bool = False) -> None:
        """first: the first mini-batch whose old log-probs are needed here."""
        with self.clock("log_probs"):
            if self.old_log_probs == "rollout":
                for _, rollout in share.sequences.values():
                    rollout.old_log_probs = torch.tensor(rollout.response.log_probs)
            else:
                for batch, rollouts in self._passes(share, first, with_zero_advantage):
                    log_probs, entropy = self._log_probs(batch, with_entropy=True)
                    batch.old_log_probs = log_probs
                    self._look_at(batch, log_probs, entropy)
                    for rollout, row in zip(rollouts, response_rows(log_probs, batch.mask), strict=False):
                        rollout.old_log_probs = row  # an empty micro-batch has a row and no rollout
            if self.reference is not None:
                for batch, rollouts in self._passes(share, 0, with_zero_advantage):
                    log_probs = self.reference.log_probs(batch, self.temperature, self.max_logits_per_chunk)
                    for rollout, row in zip(rollouts, response_rows(log_probs, batch.mask), strict=False):
                        rollout.ref_log_probs = row
            reshard(self._policy)

    def _passes(
        self, share: RankBatch, first: int, with_zero_advantage: bool
    ) -> Iterator[tuple[MicroBatch, list[Rollout]]]:
        for entries in share.cuts(first, with_zero_advantage):
            sequences = share.of(entries)
            batch = pad_sequences(sequences, self.pad_token_id).to(self.device)
            yield batch, [rollout for _, rollout in sequences]

    def _look_at(self, batch: MicroBatch, log_probs: Tensor, entropy: Tensor | None) -> None:
        """Count what tells engine and trainer apart, before any update."""
        self.update_metrics.add_entropy(batch, entropy)
        self.update_metrics.add_log_prob_gap(batch, log_probs, self.staleness > 0)
        self.update_metrics.add_correction(batch, self.loss.correction)

    def update(self, mini_batch: MiniBatch, on_policy: bool) -> bool:
        """Accumulate the gradient of a mini-batch and make one optimizer step; none where nothing is in the loss.

        Returns False, on all ranks, where loss or gradient is infinite or not a number: that step is skipped.
        on_policy: no update lies between the weights and those that sampled.
        """
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        denominator = self._sum_over_ranks(self.loss.count(mini_batch))
        if denominator == 0:
            return True
        loss = self.accumulate_gradient(mini_batch, denominator, on_policy)
        limit = torch.inf if self.gradient_clip is None else self.gradient_clip
        grad_norm = torch.nn.utils.clip_grad_norm_(self._policy.parameters(), limit)
        whole_norm = grad_norm.full_tensor() if isinstance(grad_norm, DTensor) else grad_norm
        if not (loss.isfinite() and whole_norm.isfinite()):
            optimizer.zero_grad()
            self._skip(mini_batch, Skipped(self.rollout_step, self.policy_version, loss.item(), whole_norm.item()))
            return False
        self.skipped_in_a_row = 0
        optimizer.step()
        optimizer.zero_grad()  # here, so that no gradient takes memory while the engine generates
        self.policy_version += 1
        try:
            schedule.step()
        except Exception as error:  # noqa: BLE001  (of a schedule that knows how long it is)
            self.ends_because = self.ends_because or (
                f"the schedule has no step after optimizer step {self.policy_version} ({error}): give it more, by "
                "schedule.KEY=VALUE, and resume by resume=RUN_FOLDER"
            )
        self.update_metrics.add_step(loss, whole_norm)
        return True

    def _skip(self, mini_batch: MiniBatch, skipped: Skipped) -> None:
        self.skipped_in_a_row += 1
        for tell in self.on_skip:
            tell(mini_batch, skipped)
        if self.skipped_in_a_row >= self.max_skipped_steps:
            finite = all(batch.advantages.isfinite().all() for batch in mini_batch.micro_batches)
            remedy = (
                "lower optimizer.lr or narrow the clip range"
                if finite
                else "mend the reward: advantages are not finite"
            )
            self.ends_because = (
                f"{self.skipped_in_a_row} optimizer steps in a row were skipped, the last one in rollout step "
                f"{skipped.rollout_step} with loss {skipped.loss} and gradient norm {skipped.gradient_norm}: {remedy}, "
                "and go on by resume=RUN_FOLDER (skipped_updates/ in it has the batches)"
            )
            self.skipped_in_a_row = 0  # for who goes on

    def accumulate_gradient(self, mini_batch: MiniBatch, denominator: Tensor, on_policy: bool = False) -> Tensor:
        """Add the gradient of a mini-batch to the parameters, however it was cut; returns its loss.

        Where it has no old log-probs, it is the first after they were wanted: they are those of its own pass.
        denominator: of the loss, over all micro-batches and ranks. FSDP averages gradients over all ranks, so the loss
        is multiplied by their number; cp ranks compute the same loss, each with the gradient of its own tokens.
        """
        total = torch.zeros((), device=self.device)
        for number, batch in enumerate(mini_batch.micro_batches, start=1):
            self.pretrained.sharding.before_backward(self._policy, is_last=number == len(mini_batch.micro_batches))
            batch = batch.to(self.device)
            looks = batch.old_log_probs is None or (on_policy and self.old_log_probs == "rollout")  # no pass before
            log_probs, entropy = self._log_probs(batch, looks or self.loss.entropy_coefficient != 0)
            if batch.old_log_probs is None:
                batch.old_log_probs = log_probs.detach()
            loss = self.loss(log_probs, entropy, batch, denominator)
            self.manual_backward(loss * self.trainer.world_size)
            total += loss.detach()
            self.update_metrics.add_micro_batch(self.loss.objective, batch, log_probs)
            if looks:
                self._look_at(batch, log_probs, entropy)
        self.update_metrics.add_zero_advantage(mini_batch)
        for parameter in trained_parameters(self._policy):
            if parameter.grad is None:  # every advantage is 0: the optimizer still makes its step, with a gradient of 0
                parameter.grad = torch.zeros_like(parameter)
        return self._sum_over_ranks(total)

    def _log_probs(self, batch: MicroBatch, with_entropy: bool) -> Values:
        group = None if self.mesh is None else self.mesh.context_parallel_group
        how = (self.pretrained.packed, group, self.max_logits_per_chunk)
        return response_log_probs(self._policy, batch, self.temperature, with_entropy, *how)

    @property
    def _policy(self) -> PreTrainedModel:
        assert self.model is not None, "configure_model() comes first"
        return self.model

    @property
    def _cp(self) -> int:
        return 1 if self.mesh is None else self.mesh.layout.cp

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        """Over one rank of each data-parallel group: the others count the same sequences."""
        group = None if self.mesh is None else self.mesh.data_parallel_group
        return self.trainer.strategy.reduce(value.to(self.device), group, reduce_op="sum")
