"""Assignment of a rollout step's sequences to ranks; every rank computes the same one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from gmpo.batching.balancing import Cost, imbalance, padding_share, split_into_micro_batches
from gmpo.types import Group

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """The facts of a sequence that all ranks know."""

    owner: int  # the rank that holds it
    place: int  # among the owner's sequences
    tokens: int  # prompt and response
    in_loss: bool
    zero_advantage: bool  # counts in the loss, but has no gradient
    has_log_probs: bool  # from an earlier pass


MicroBatchPlan = list[Entry]


@dataclass(frozen=True)
class BatchingConfig:
    """Sizes of mini-batches and micro-batches."""

    prompts: int  # of a mini-batch
    max_tokens: int  # of a micro-batch, over all its cp ranks
    max_tokens_without_gradient: int  # of one that only computes log-probs
    cost: Cost
    packed: bool
    skip_zero_advantage: bool


@dataclass(frozen=True)
class Assignment:
    """The micro-batches and the sequences of advantage 0 of each mini-batch and data-parallel rank.

    Every rank has the same number of micro-batches.
    """

    micro_batches: list[list[list[MicroBatchPlan]]]  # by mini-batch, rank
    zero_advantage: list[list[MicroBatchPlan]]  # by mini-batch, rank
    padding_share: float  # of all tokens in micro-batches
    imbalance: float  # time that ranks spend waiting for the slowest in each micro-batch, as a factor of at least 1

    def of_rank(self, rank: int, first: int = 0, with_zero_advantage: bool = True) -> MicroBatchPlan:
        """Return a rank's sequences from mini-batch `first` on; those of advantage 0 are included by default."""
        found: MicroBatchPlan = []
        for cuts, zero_advantage in zip(self.micro_batches[first:], self.zero_advantage[first:], strict=True):
            found += [entry for micro in cuts[rank] for entry in micro] + (
                zero_advantage[rank] if with_zero_advantage else []
            )
        return found


def entries_of(
    groups: Sequence[Group], owner: int, skip_zero_advantage: bool, everything: bool = False
) -> list[list[Entry]]:
    """Return the entries of a rank's groups. everything: as if no response were left out of the loss."""
    found: list[list[Entry]] = []
    place = 0
    for group in groups:
        own = []
        for rollout in group.rollouts:
            tokens = len(group.prompt.token_ids) + len(rollout.response.token_ids)
            in_loss = rollout.in_loss or everything
            zero_advantage = in_loss and skip_zero_advantage and rollout.advantage == 0
            own.append(Entry(owner, place, tokens, in_loss, zero_advantage, rollout.old_log_probs is not None))
            place += 1
        found.append(own)
    return found


def in_order(gathered: Sequence[Sequence[T]]) -> list[T]:
    """Return values of the groups of all ranks in the order of the batch: engines take its prompts in turn."""
    longest = max(map(len, gathered), default=0)
    return [groups[i] for i in range(longest) for groups in gathered if i < len(groups)]


def assign(groups: Sequence[list[Entry]], ranks: int, config: BatchingConfig) -> Assignment:
    """Form mini-batches of whole groups, and distribute each over `ranks` data-parallel ranks."""
    micro_batches, zero_advantage, padding, waiting, work = [], [], 0.0, 0.0, 0
    for start in range(0, len(groups), config.prompts):
        entries = [entry for group in groups[start : start + config.prompts] for entry in group]
        active = [entry for entry in entries if entry.in_loss and not entry.zero_advantage]
        lengths = [entry.tokens for entry in active]
        rounds = split_into_micro_batches(lengths, config.max_tokens, config.cost, ranks, config.packed)
        micro_batches.append([[[active[i] for i in of_all[r]] for of_all in rounds] for r in range(ranks)])
        zero_advantage.append(_dealt([entry for entry in entries if entry.zero_advantage], ranks))
        padding += sum(lengths) * padding_share(lengths, rounds, config.packed)
        waiting += sum(lengths) * imbalance(lengths, rounds, config.cost, config.packed)
        work += sum(lengths)
    return Assignment(micro_batches, zero_advantage, padding / work if work else 0.0, waiting / work if work else 1.0)


def _dealt(entries: Sequence[Entry], ranks: int) -> list[MicroBatchPlan]:
    """Deal entries to the ranks in turn, long ones first, in alternating direction."""
    hands: list[MicroBatchPlan] = [[] for _ in range(ranks)]
    for number, entry in enumerate(sorted(entries, key=lambda e: -e.tokens)):
        turn, place = divmod(number, ranks)
        hands[ranks - 1 - place if turn % 2 else place].append(entry)
    return hands


def split_without_gradient(by_rank: Sequence[MicroBatchPlan], config: BatchingConfig) -> list[list[MicroBatchPlan]]:
    """Split each rank's sequences for a no-grad pass; empty micro-batches make their number equal on all ranks."""
    cuts = []
    for entries in by_rank:
        lengths = [entry.tokens for entry in entries]
        rounds = split_into_micro_batches(lengths, config.max_tokens_without_gradient, config.cost, 1, config.packed)
        cuts.append([[entries[i] for i in own] for (own,) in rounds])
    most = max(map(len, cuts), default=0)
    return [own + [[] for _ in range(most - len(own))] for own in cuts]
