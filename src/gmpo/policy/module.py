"""The LightningModule: from a scored batch to new weights."""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedModel

from gmpo.batching import cut_sequences, mini_batches, pad_sequences, response_rows, sequences_of
from gmpo.clock import StepClock
from gmpo.objectives import PolicyLoss
from gmpo.policy.log_probs import response_log_probs
from gmpo.policy.model import load_model, reshard, shard
from gmpo.policy.reference import Reference
from gmpo.policy.update_metrics import UpdateMetrics
from gmpo.types import Group, MicroBatch, MiniBatch, PromptBatch, Rollout

log = logging.getLogger(__name__)


class PolicyModule(LightningModule):
    """Updates a causal language model on rollouts, several optimizer steps for each batch.

    model_path: a folder or hub id in the Hugging Face format. optimizer: takes parameters. schedule: takes the
    optimizer, and is stepped once for each optimizer step. mini_batch_prompts: prompts of one optimizer step.
    temperature: of the sampling; it divides the logits, so that ratios compare the distributions sampled from.
    old_log_probs: where those of the behaviour policy come from, a pass of the trainer or the engine's rollout.
    skip_zero_signal: responses of advantage 0 skip the update's passes where the loss has no other term for them.
    reference_on_cpu: the reference model, where there is one, leaves a GPU's memory to the policy.
    """

    def __init__(
        self,
        model_path: str,
        loss: PolicyLoss,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler],
        mini_batch_prompts: int,
        max_tokens_per_micro_batch: int,
        gradient_clip: float,
        temperature: float,
        pad_token_id: int,
        old_log_probs: Literal["trainer", "rollout"] = "trainer",
        skip_zero_signal: bool = True,
        reference_on_cpu: bool = False,
        dtype: str = "float32",
        attention: str = "sdpa",
    ) -> None:
        super().__init__()
        if old_log_probs not in ("trainer", "rollout"):
            raise ValueError(f"policy.old_log_probs={old_log_probs} must be trainer or rollout")
        self.automatic_optimization = False
        self.model_path = model_path
        self.loss = loss
        self.build_optimizer = optimizer
        self.build_schedule = schedule
        self.mini_batch_prompts = mini_batch_prompts
        self.max_tokens_per_micro_batch = max_tokens_per_micro_batch
        self.gradient_clip = gradient_clip
        self.temperature = temperature
        self.pad_token_id = pad_token_id
        self.old_log_probs = old_log_probs
        self.skip_zero_signal = skip_zero_signal and not loss.learns_from_zero_advantage
        self.reference_on_cpu = reference_on_cpu
        self.dtype_name = dtype
        self.attention = attention
        self.model: PreTrainedModel | None = None
        self.reference: Reference | None = None  # where the loss or the reward has a KL
        self.update_metrics = UpdateMetrics()
        self.clock = StepClock()
        self.rollout_step = 0  # rollout steps begun; 0 before the first
        self.policy_version = 0  # optimizer steps taken
        self.ends_because: str | None = None  # set by a callback: training ends with this step, without an update

    def configure_model(self) -> None:
        """Load the weights, and the reference's if it is needed, and shard them over the data-parallel ranks."""
        if self.model is not None:
            return
        source = (self.model_path, self.dtype_name, self.attention)
        mesh = None if self.device_mesh is None else self.device_mesh["data_parallel"]
        self.model = load_model(*source)
        if mesh is not None:
            shard(self.model, mesh)
        if self.loss.kl.needs_reference:
            self.reference = Reference(*source, mesh, self.reference_on_cpu)

    def configure_optimizers(self) -> dict[str, object]:
        """The optimizer and its schedule, which `training_step` steps by hand."""
        assert self.model is not None
        optimizer = self.build_optimizer(self.model.parameters())
        return {"optimizer": optimizer, "lr_scheduler": self.build_schedule(optimizer)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say where config and tokenizer come from, wherever the checkpoint is read."""
        folder = Path(self.model_path)
        checkpoint["base_model"] = str(folder.resolve()) if folder.is_dir() else self.model_path

    def transfer_batch_to_device(self, batch: PromptBatch, device: object, dataloader_idx: int) -> PromptBatch:
        """The batch itself: it holds no tensors, and callbacks fill in this very object."""
        return batch

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Name and whole tensor of each parameter, one at a time; every rank must iterate to the end."""
        assert self.model is not None
        for name, parameter in self.model.named_parameters():
            whole = parameter.detach()
            yield name, whole.full_tensor() if isinstance(whole, DTensor) else whole

    def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """One optimizer step for each mini-batch of the groups that the rollout callback filled in."""
        if self.ends_because:
            self.trainer.should_stop = True
            return
        self.fill_log_probs(batch.groups)
        version = self.policy_version
        with self.clock("update"):
            for index, mini_batch in enumerate(self.pack(batch.groups)):
                self.update(mini_batch, on_policy=index == 0)
        if self.policy_version == version:
            log.warning("step %d: every response is left out of the loss, nothing is learned", self.rollout_step)
        self.log_dict(self.update_metrics.compute_and_reset())
        self.log("policy/learning_rate", self.lr_schedulers().get_last_lr()[0])

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Nothing to do: the rollout callback has scored the batch, the evaluation callback reports it."""

    @torch.no_grad()
    def fill_log_probs(self, groups: list[Group]) -> None:
        """Log-probs of responses under the behaviour policy and the reference, before any update of this step.

        Responses that have them are left as they are. Those left out of the loss get none, unless the KL to the
        reference is to be taken off their reward.
        """
        everywhere = self.loss.kl.in_reward
        wanted = [(p, r) for p, r in sequences_of(groups) if r.old_log_probs is None and (r.in_loss or everywhere)]
        with self.clock("log_probs"):
            if self.old_log_probs == "rollout":
                for _, rollout in wanted:
                    rollout.old_log_probs = torch.tensor(rollout.response.log_probs)
                if self.reference is None:
                    return
            for sequences in cut_sequences(wanted, self.max_tokens_per_micro_batch):
                self._fill_log_probs([rollout for _, rollout in sequences], pad_sequences(sequences, self.pad_token_id))
            reshard(self._policy)

    def _fill_log_probs(self, rollouts: list[Rollout], batch: MicroBatch) -> None:
        batch = batch.to(self.device)
        if batch.old_log_probs is None:
            batch.old_log_probs, entropy = response_log_probs(self._policy, batch, self.temperature, with_entropy=True)
            self.update_metrics.add_entropy(batch, entropy)
            self.update_metrics.add_log_prob_gap(batch, batch.old_log_probs)
            self.update_metrics.add_correction(batch, self.loss.correction)
            for rollout, row in zip(rollouts, response_rows(batch.old_log_probs, batch.mask), strict=True):
                rollout.old_log_probs = row
        if self.reference is not None:
            batch.ref_log_probs = self.reference.log_probs(batch, self.temperature)
            self.update_metrics.add_reference(batch)
            for rollout, row in zip(rollouts, response_rows(batch.ref_log_probs, batch.mask), strict=True):
                rollout.ref_log_probs = row

    def pack(self, groups: list[Group]) -> list[MiniBatch]:
        """Cut groups into mini-batches, whole groups each, and these into micro-batches sorted by length."""
        return mini_batches(
            groups, self.mini_batch_prompts, self.max_tokens_per_micro_batch, self.pad_token_id, self.skip_zero_signal
        )

    def update(self, mini_batch: MiniBatch, on_policy: bool) -> None:
        """Accumulate the gradient of a mini-batch and make one optimizer step; none where nothing is in the loss.

        on_policy: no update lies between the weights and those that sampled.
        """
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        denominator = self._sum_over_ranks(self.loss.count(mini_batch))
        if denominator == 0:
            return
        loss = self.accumulate_gradient(mini_batch, denominator, on_policy)
        grad_norm = torch.nn.utils.clip_grad_norm_(self._policy.parameters(), self.gradient_clip)
        whole_norm = grad_norm.full_tensor() if isinstance(grad_norm, DTensor) else grad_norm
        if not whole_norm.isfinite():
            raise FloatingPointError(
                f"the gradient norm is {whole_norm.item()} in rollout step {self.rollout_step} (loss {loss.item()}): "
                "nothing was updated; a lower optimizer.lr or a narrower clip range may help"
            )
        optimizer.step()
        optimizer.zero_grad()  # here, so that no gradient takes memory while the engine generates
        schedule.step()
        self.policy_version += 1
        self.update_metrics.add_step(loss, whole_norm)

    def accumulate_gradient(self, mini_batch: MiniBatch, denominator: Tensor, on_policy: bool = False) -> Tensor:
        """Add the gradient of a mini-batch to the parameters, however it was cut; returns its loss.

        denominator: of the loss, over all micro-batches and ranks. Data-parallel gradients are averaged over the
        ranks, so the loss is multiplied by their number.
        """
        total = torch.zeros((), device=self.device)
        only_look = on_policy and self.old_log_probs == "rollout"  # at the engine's log-probs: no pass came before
        for batch in mini_batch.micro_batches:
            batch = batch.to(self.device)
            log_probs, entropy = response_log_probs(
                self._policy, batch, self.temperature, with_entropy=only_look or self.loss.entropy_coefficient != 0
            )
            loss = self.loss(log_probs, entropy, batch, denominator)
            self.manual_backward(loss * self._ranks())
            total += loss.detach()
            self.update_metrics.add_micro_batch(self.loss.objective, batch, log_probs)
            if only_look:
                self.update_metrics.add_entropy(batch, entropy)
                self.update_metrics.add_log_prob_gap(batch, log_probs)
        self.update_metrics.add_idle(mini_batch)
        for parameter in self._policy.parameters():
            if parameter.grad is None:  # all idle: the optimizer still makes its step, with a gradient of 0
                parameter.grad = torch.zeros_like(parameter)
        return self._sum_over_ranks(total)

    @property
    def _policy(self) -> PreTrainedModel:
        assert self.model is not None, "configure_model() comes first"
        return self.model

    def _ranks(self) -> int:
        return self.trainer.world_size

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(value.to(self.device), reduce_op="sum")
