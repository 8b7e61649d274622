"""The sequences of a rollout step that one data-parallel rank trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
from gmpo.types import Group, MiniBatch, Prompt, Rollout

Key = tuple[int, int]  # the rank that holds a sequence, and its place there


@dataclass(frozen=True)
class RankBatch:
    """What this rank trains, copies of what other ranks hold among it; its cp ranks have the same share."""

    plan: Assignment
    config: BatchingConfig
    ranks: int  # data-parallel ones
    sequences: dict[Key, tuple[Prompt, Rollout]]
    data_parallel_rank: int

    def cuts(self, first: int = 0, with_zero_advantage: bool = False) -> list[list[Entry]]:
        """What has no log-probs yet, as micro-batches of a pass without a gradient; as many on every rank.

        first: the mini-batch with which to begin. with_zero_advantage: responses without a gradient, too.
        """
        by_rank = [self.plan.of_rank(r, first, with_zero_advantage) for r in range(self.ranks)]
        without = [[entry for entry in entries if not entry.has_log_probs] for entries in by_rank]
        return split_without_gradient(without, self.config)[self.data_parallel_rank]

    def of(self, entries: list[Entry]) -> Sequences:
        """The sequences that entries stand for."""
        return [self.sequences[entry.owner, entry.place] for entry in entries]

    def mini_batches(self, pad_token_id: int) -> list[MiniBatch]:
        """As tensors, once log-probs are known."""
        made = []
        for cuts, zero_advantage in zip(self.plan.micro_batches, self.plan.zero_advantage, strict=True):
            micro_batches = [pad_sequences(self.of(entries), pad_token_id) for entries in cuts[self.data_parallel_rank]]
            lengths = [len(r.response.token_ids) for _, r in self.of(zero_advantage[self.data_parallel_rank])]
            made.append(MiniBatch(micro_batches, response_mask(lengths)))
        return made

    def give_back(self, groups: list[Group], has_own_share: bool) -> None:
        """Hand log-probs that were filled in here to the ranks that hold the responses.

        groups: those that this rank holds. has_own_share: False on ranks whose share another one has as well.
        """
        outgoing: list[list[tuple[int, Tensor | None, Tensor | None]]] = [[] for _ in range(world_size())]
        if has_own_share:
            for (owner, place), (_, rollout) in self.sequences.items():
                outgoing[owner].append((place, rollout.old_log_probs, rollout.ref_log_probs))
        held = sequences_of(groups)
        for place, old, ref in exchange(outgoing):
            held[place][1].old_log_probs, held[place][1].ref_log_probs = old, ref


def distribute(
    groups: list[Group],
    config: BatchingConfig,
    ranks: int,
    data_parallel_rank_of: Callable[[int], int],
    everything: bool = False,
) -> RankBatch:
    """Spread the groups of all ranks over `ranks` data-parallel ranks; collective.

    groups: those that this rank holds. data_parallel_rank_of: of a rank. everything: responses that are left out of
    the loss, too.
    """
    own = entries_of(groups, rank(), config.skip_zero_advantage, everything)
    plan = assign(in_order(gather(own)), ranks, config)
    by_rank = [plan.of_rank(r) for r in range(ranks)]
    held = sequences_of(groups)
    outgoing: list[list[tuple[Key, Prompt, Rollout]]] = []
    for receiver in range(world_size()):
        wanted = [entry for entry in by_rank[data_parallel_rank_of(receiver)] if entry.owner == rank()]
        outgoing.append([((entry.owner, entry.place), *held[entry.place]) for entry in wanted])
    sequences = {key: (prompt, rollout) for key, prompt, rollout in exchange(outgoing)}
    return RankBatch(plan, config, ranks, sequences, data_parallel_rank_of(rank()))
