"""The sequences of a rollout step that one data-parallel rank trains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from gmpo.batching import (
    Assignment,
    BatchingConfig,
    Entry,
    Sequences,
    assign,
    entries_of,
    in_order,
    pad_sequences,
    response_mask,
    sequences_of,
    split_without_gradient,
)
from gmpo.parallel.collectives import exchange, gather, rank, world_size
from gmpo.parallel.mesh import Mesh
from gmpo.types import Group, MiniBatch, Prompt, Rollout

Key = tuple[int, int]  # the rank that holds a sequence, and its place there


@dataclass(frozen=True)
class RankBatch:
    """The sequences that this rank trains, some copied from other ranks; its cp ranks have the same."""

    plan: Assignment
    config: BatchingConfig
    ranks: int  # data-parallel ones
    sequences: dict[Key, tuple[Prompt, Rollout]]
    data_parallel_rank: int

    def without_log_probs(self, first: int) -> list[list[Entry]]:
        """Return the sequences without log-probs, as micro-batches of a no-grad pass; equally many on every rank.

        first: the mini-batch to begin with.
        """
        by_rank = [self.plan.of_rank(r, first, with_zero_advantage=False) for r in range(self.ranks)]
        without = [[entry for entry in entries if not entry.has_log_probs] for entries in by_rank]
        return split_without_gradient(without, self.config)[self.data_parallel_rank]

    def of(self, entries: list[Entry]) -> Sequences:
        """Return the sequences of entries."""
        return [self.sequences[entry.owner, entry.place] for entry in entries]

    def mini_batches(self, pad_token_id: int) -> list[MiniBatch]:
        """Return the mini-batches as tensors, once log-probs are known."""
        made = []
        for cuts, zero_advantage in zip(self.plan.micro_batches, self.plan.zero_advantage, strict=True):
            micro_batches = [pad_sequences(self.of(entries), pad_token_id) for entries in cuts[self.data_parallel_rank]]
            lengths = [len(r.response.token_ids) for _, r in self.of(zero_advantage[self.data_parallel_rank])]
            made.append(MiniBatch(micro_batches, response_mask(lengths)))
        return made

    def give_back(self, groups: list[Group], is_first_of_cp: bool) -> None:
        """Send log-probs that were filled in here to the ranks that hold the responses.

        groups: those that this rank holds. is_first_of_cp: False on ranks that repeat the sequences of another one.
        """
        outgoing: list[list[tuple[int, Tensor | None, Tensor | None]]] = [[] for _ in range(world_size())]
        if is_first_of_cp:
            for (owner, place), (_, rollout) in self.sequences.items():
                outgoing[owner].append((place, rollout.old_log_probs, rollout.ref_log_probs))
        held = sequences_of(groups)
        for place, old, ref in exchange(outgoing):
            held[place][1].old_log_probs, held[place][1].ref_log_probs = old, ref


@dataclass(frozen=True)
class Distribution:
    """Spreads the groups of all ranks over data-parallel ranks; the budgets of `config` are those of one rank."""

    config: BatchingConfig
    mesh: Mesh | None  # None: one process has everything

    @property
    def cp(self) -> int:
        """Number of ranks that share a micro-batch."""
        return 1 if self.mesh is None else self.mesh.layout.cp

    @property
    def is_first_of_cp(self) -> bool:
        """Whether this is the first of the ranks with the same sequences."""
        return rank() % self.cp == 0

    def __call__(self, groups: list[Group], everything: bool = False) -> RankBatch:
        """Return the sequences that this rank trains; collective.

        groups: those that this rank holds. everything: include all responses, even those left out of the loss, before
        advantages are known.
        """
        ranks = 1 if self.mesh is None else self.mesh.layout.data_parallel
        config = replace(
            self.config,
            max_tokens=self.config.max_tokens * self.cp,
            max_tokens_without_gradient=self.config.max_tokens_without_gradient * self.cp,
        )
        own = entries_of(groups, rank(), config.skip_zero_advantage and not everything, everything)
        plan = assign(in_order(gather(own)), ranks, config)
        by_rank = [plan.of_rank(r) for r in range(ranks)]
        held = sequences_of(groups)
        outgoing: list[list[tuple[Key, Prompt, Rollout]]] = []
        for receiver in range(world_size()):
            wanted = [entry for entry in by_rank[receiver // self.cp] if entry.owner == rank()]
            outgoing.append([((entry.owner, entry.place), *held[entry.place]) for entry in wanted])
        sequences = {key: (prompt, rollout) for key, prompt, rollout in exchange(outgoing)}
        return RankBatch(plan, config, ranks, sequences, rank() // self.cp)
