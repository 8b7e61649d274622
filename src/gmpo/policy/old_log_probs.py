"""Old log-probs: from the engine, a pass of the trainer, or the update's own forward pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from lightning import LightningModule
from torch import Tensor

from gmpo.batching import pad_sequences, response_rows
from gmpo.metrics.update import UpdateMetrics
from gmpo.objectives.correction import Correction
from gmpo.parallel.distribute import Distribution, RankBatch
from gmpo.parallel.fsdp import reshard
from gmpo.policy.forward import Forward
from gmpo.policy.reference import Reference
from gmpo.run.state import RunState
from gmpo.types import Group, MicroBatch, MiniBatch, Rollout


@dataclass(frozen=True)
class EngineGap:
    """Metrics of the policy before the step's first update: its entropy, and its log-prob gap to the engine."""

    metrics: UpdateMetrics
    correction: Correction
    state: RunState

    def add(self, batch: MicroBatch, log_probs: Tensor, entropy: Tensor | None) -> None:
        """Record a micro-batch; its log-probs are those of the policy before the first update."""
        self.metrics.add_entropy(batch, entropy)
        self.metrics.add_log_prob_gap(batch, log_probs, self.state.staleness > 0)
        self.metrics.add_correction(batch, self.correction)


@dataclass(frozen=True)
class OldLogProbs:
    """Makes mini-batches of groups, with old and reference log-probs from before the rollout step's first update.

    All methods are collective. groups: those that this rank holds; it may train others. Mini-batches consist of whole
    groups.

    The first mini-batch is on-policy: its own forward pass precedes any update and yields its old log-probs, so it
    needs no other pass. origin: "rollout" takes the engine's log-probs for all mini-batches, "trainer" makes a pass
    for each further one.
    """

    origin: Literal["trainer", "rollout"]
    distribute: Distribution
    forward: Forward
    reference: Reference | None
    gap: EngineGap
    lightning: LightningModule  # for its device, known once it is moved there
    pad_token_id: int

    def mini_batches(self, groups: list[Group]) -> list[MiniBatch]:
        """Return this rank's part of each mini-batch, with the log-probs that its update needs."""
        batch = self._distributed(groups)
        self.gap.metrics.add_plan(batch.plan)
        self._fill(batch, first=1)
        made = batch.mini_batches(self.pad_token_id)
        for mini_batch in made[:1]:
            unknown = any(micro_batch.old_log_probs is None for micro_batch in mini_batch.micro_batches)
            mini_batch.on_policy = unknown or self.origin == "rollout"
        return made

    def fill(self, groups: list[Group]) -> None:
        """Fill in the log-probs of every response of these groups, before advantages are known."""
        batch = self._distributed(groups, everything=True)
        self._fill(batch, first=0)
        batch.give_back(groups, self.distribute.is_first_of_cp)

    def _distributed(self, groups: list[Group], everything: bool = False) -> RankBatch:
        with self.gap.state.clock("exchange"):
            return self.distribute(groups, everything)

    @torch.no_grad()
    def _fill(self, batch: RankBatch, first: int) -> None:
        """Fill in missing log-probs. first: the first mini-batch that gets a pass of the trainer."""
        with self.gap.state.clock("log_probs"):
            if self.origin == "rollout":
                for _, rollout in batch.sequences.values():
                    rollout.old_log_probs = torch.tensor(list(rollout.response.log_probs))
            else:
                for micro_batch, rollouts in self._passes(batch, first):
                    log_probs, entropy = self.forward(micro_batch, with_entropy=True)
                    micro_batch.old_log_probs = log_probs
                    self.gap.add(micro_batch, log_probs, entropy)
                    for rollout, row in zip(rollouts, response_rows(log_probs, micro_batch.mask), strict=False):
                        rollout.old_log_probs = row  # an empty micro-batch has a row and no rollout
            if self.reference is not None:
                for micro_batch, rollouts in self._passes(batch, first=0):
                    log_probs = self.reference.log_probs(micro_batch)
                    for rollout, row in zip(rollouts, response_rows(log_probs, micro_batch.mask), strict=False):
                        rollout.ref_log_probs = row
            reshard(self.forward.model)

    def _passes(self, batch: RankBatch, first: int) -> Iterator[tuple[MicroBatch, list[Rollout]]]:
        for entries in batch.without_log_probs(first):
            sequences = batch.of(entries)
            yield (
                pad_sequences(sequences, self.pad_token_id).to(self.lightning.device),
                [rollout for _, rollout in sequences],
            )
