"""The LightningModule: from a scored batch to new weights."""

from collections.abc import Callable, Iterable, Iterator

import torch
from lightning import LightningModule
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedModel

from gmpo.batching import micro_batch_indices, pad_sequences
from gmpo.clock import StepClock
from gmpo.objectives.objective import Objective
from gmpo.policy.log_probs import response_log_probs
from gmpo.policy.model import load_model, shard
from gmpo.policy.update_metrics import UpdateMetrics
from gmpo.types import Group, MicroBatch, PromptBatch

MiniBatch = list[MicroBatch]


class PolicyModule(LightningModule):
    """Updates a causal language model on rollouts, several optimizer steps for each batch.

    model_path: a folder or hub id in the Hugging Face format. optimizer: takes parameters. schedule: takes the
    optimizer, and is stepped once for each optimizer step. mini_batch_prompts: prompts of one optimizer step.
    temperature: of the sampling; it divides the logits, so that ratios compare the distributions sampled from.
    """

    def __init__(
        self,
        model_path: str,
        objective: Objective,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler],
        mini_batch_prompts: int,
        max_tokens_per_micro_batch: int,
        gradient_clip: float,
        temperature: float,
        pad_token_id: int,
        dtype: str = "float32",
        attention: str = "sdpa",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model_path = model_path
        self.objective = objective
        self.build_optimizer = optimizer
        self.build_schedule = schedule
        self.mini_batch_prompts = mini_batch_prompts
        self.max_tokens_per_micro_batch = max_tokens_per_micro_batch
        self.gradient_clip = gradient_clip
        self.temperature = temperature
        self.pad_token_id = pad_token_id
        self.dtype_name = dtype
        self.attention = attention
        self.model: PreTrainedModel | None = None
        self.update_metrics = UpdateMetrics()
        self.clock = StepClock()
        self.rollout_step = 0  # rollout steps begun; 0 before the first
        self.policy_version = 0  # optimizer steps taken

    def configure_model(self) -> None:
        """Load the weights and shard them over the data-parallel ranks."""
        if self.model is None:
            self.model = load_model(self.model_path, self.dtype_name, self.attention)
            if self.device_mesh is not None:
                shard(self.model, self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> dict[str, object]:
        """The optimizer and its schedule, which `training_step` steps by hand."""
        assert self.model is not None
        optimizer = self.build_optimizer(self.model.parameters())
        return {"optimizer": optimizer, "lr_scheduler": self.build_schedule(optimizer)}

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
        with self.clock("log_probs"):
            mini_batches = self.pack(batch.groups)
            self.fill_old_log_probs(mini_batches)
        with self.clock("update"):
            for mini_batch in mini_batches:
                self.update(mini_batch)
        self.log_dict(self.update_metrics.compute_and_reset())
        self.log("policy/learning_rate", self.lr_schedulers().get_last_lr()[0])

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Nothing to do: the rollout callback has scored the batch, the evaluation callback reports it."""

    def pack(self, groups: list[Group]) -> list[MiniBatch]:
        """Cut groups into mini-batches, whole groups each, and these into micro-batches sorted by length."""
        return [
            self._micro_batches(groups[start : start + self.mini_batch_prompts])
            for start in range(0, len(groups), self.mini_batch_prompts)
        ]

    @torch.no_grad()
    def fill_old_log_probs(self, mini_batches: list[MiniBatch]) -> None:
        """Log-probs of all responses under the weights as they are now, before any update of this step."""
        for mini_batch in mini_batches:
            for batch in mini_batch:
                batch.old_log_probs, _ = response_log_probs(self._policy, batch, self.temperature)
                self.update_metrics.add_old_log_probs(batch)

    def update(self, mini_batch: MiniBatch) -> None:
        """Accumulate the gradient of a mini-batch and make one optimizer step."""
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        loss = self.accumulate_gradient(mini_batch)
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

    def accumulate_gradient(self, mini_batch: MiniBatch) -> Tensor:
        """Add the gradient of a mini-batch to the parameters, however it was cut; returns its loss.

        The denominator is summed over the micro-batches and ranks first. Data-parallel gradients are averaged
        over the ranks, so the loss is multiplied by their number.
        """
        denominator = self._sum_over_ranks(sum(self.objective.count(batch.mask) for batch in mini_batch))
        total = torch.zeros((), device=self.device)
        for batch in mini_batch:
            assert batch.old_log_probs is not None, "fill_old_log_probs() comes first"
            log_probs, entropy = response_log_probs(self._policy, batch, self.temperature)
            loss = self.objective(log_probs, batch.old_log_probs, batch.advantages, batch.mask, denominator)
            self.manual_backward(loss * self._ranks())
            total += loss.detach()
            self.update_metrics.add_micro_batch(self.objective, batch, log_probs, entropy)
        return self._sum_over_ranks(total)

    def _micro_batches(self, groups: list[Group]) -> MiniBatch:
        sequences = [(group.prompt, rollout) for group in groups for rollout in group.rollouts]
        lengths = [len(prompt.token_ids) + len(rollout.response.token_ids) for prompt, rollout in sequences]
        cuts = micro_batch_indices(lengths, self.max_tokens_per_micro_batch)
        return [pad_sequences([sequences[i] for i in cut], self.pad_token_id).to(self.device) for cut in cuts]

    @property
    def _policy(self) -> PreTrainedModel:
        assert self.model is not None, "configure_model() comes first"
        return self.model

    def _ranks(self) -> int:
        return self.trainer.world_size

    def _sum_over_ranks(self, value: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(value.to(self.device), reduce_op="sum")
