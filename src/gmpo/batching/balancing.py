"""Micro-batches for data-parallel ranks in lockstep: equally many for each rank, of similar work in every round."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, inf, nextafter

import numpy as np

MicroBatchIndices = list[
    list[list[int]]
]  # rounds[k][rank]: the sequences of that rank's k-th micro-batch, perhaps none

# Measured on 1 M parameters and a CPU (docs/log.md): a micro-batch costs as much as about 50 tokens, so that below
# 512 tokens the last rounds cost as much as they save, and below 5% of padding there is nothing left to save.
LITTLE_PADDING = 0.05
FEW_TOKENS = 512
EXTRA_ROUNDS = 2  # to equalize work where the budget binds; beyond that the budget has priority


@dataclass(frozen=True)
class Cost:
    """The work of a sequence of T tokens, linear·T + quadratic·T²; only the ratio of the two coefficients matters."""

    linear: float = 1.0
    quadratic: float = 0.0

    def __post_init__(self) -> None:
        if min(self.linear, self.quadratic) < 0 or self.linear + self.quadratic == 0:
            raise ValueError(f"a longer sequence makes more work: {self} needs one coefficient above 0, none below")

    def __call__(self, tokens: int) -> float:
        """Return the work of a sequence of this length; it has no unit."""
        return tokens * (self.linear + self.quadratic * tokens)


def split_into_micro_batches(
    lengths: Sequence[int], max_tokens: int, cost: Cost, ranks: int = 1, packed: bool = False
) -> MicroBatchIndices:
    """Split the sequences of a mini-batch into micro-batches of at most `max_tokens`, distributed over ranks.

    lengths: tokens of each sequence, prompt and response, at least 1. Every index is in one micro-batch; all ranks
    have the same number of micro-batches, some perhaps empty. The result depends only on the arguments.

    Without packing, sequences are padded to the longest of their micro-batch: rows × longest must be within the budget
    and rows × cost(longest) is the work. Micro-batches then hold similar lengths, and there are more than the budget
    requires where that saves padding. Packed, there is no padding and the work is the sum of the sequences' costs.
    """
    if len(lengths) == 0:
        return []
    if max(lengths) > max_tokens:
        raise ValueError(
            f"a sequence of {max(lengths)} tokens does not fit batch.max_tokens_per_micro_batch={max_tokens}: "
            "raise it to at least data.max_prompt_tokens + sampling.max_tokens"
        )
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    descending = [lengths[i] for i in order]
    spread = _pack if packed else _slice
    micro_batches = [[order[place] for place in places] for places in spread(descending, max_tokens, cost, ranks)]
    return _rounds(micro_batches, [_work(lengths, batch, cost, packed) for batch in micro_batches], ranks)


def padding_share(lengths: Sequence[int], rounds: MicroBatchIndices, packed: bool = False) -> float:
    """Return padding tokens as a share of all tokens of all micro-batches."""
    batches = [[lengths[i] for i in batch] for ranks in rounds for batch in ranks if batch]
    if packed or not batches:
        return 0.0
    return 1 - sum(map(sum, batches)) / sum(len(batch) * max(batch) for batch in batches)


def imbalance(lengths: Sequence[int], rounds: MicroBatchIndices, cost: Cost, packed: bool = False) -> float:
    """Return the ranks' time relative to equal work: Σ_k max over ranks of the work in round k / Σ_k mean."""
    works = [[_work(lengths, batch, cost, packed) for batch in ranks] for ranks in rounds]
    if not works:
        return 1.0
    return sum(map(max, works)) / sum(sum(ranks) / len(ranks) for ranks in works)


def _work(lengths: Sequence[int], batch: Sequence[int], cost: Cost, packed: bool) -> float:
    if packed:
        return sum(cost(lengths[i]) for i in batch)
    return len(batch) * cost(max((lengths[i] for i in batch), default=0))


def _rounds(micro_batches: list[list[int]], works: list[float], ranks: int) -> MicroBatchIndices:
    """Form rounds of similar work; in each the heaviest micro-batch goes to the rank with the least work so far."""
    by_work = sorted(range(len(works)), key=lambda i: (-works[i], i))
    totals = [0.0] * ranks
    rounds: MicroBatchIndices = []
    for start in range(0, len(by_work), ranks):
        rounds.append([[] for _ in range(ranks)])
        lightest_first = sorted(range(ranks), key=lambda rank: (totals[rank], rank))
        for rank, i in zip(lightest_first, by_work[start : start + ranks], strict=False):
            rounds[-1][rank] = micro_batches[i]
            totals[rank] += works[i]
    return rounds


def _slice(lengths: list[int], max_tokens: int, cost: Cost, ranks: int) -> list[range]:
    """Slice descending lengths into the fewest rounds within the budget, or into more where that saves padding."""
    works = [cost(length) for length in lengths]
    rounds = ceil(len(_fill(lengths, works, max_tokens)) / ranks)
    slices = _even_slices(lengths, works, max_tokens, rounds * ranks)
    while len(slices) > (rounds - 1) * ranks:
        more = rounds + 1 + rounds // 16
        if not _padding_is_worth(lengths, slices, more * ranks):
            break
        rounds = more
        slices = _even_slices(lengths, works, max_tokens, rounds * ranks)
    before_last = (len(slices) - 1) // ranks * ranks  # the last round has the rest, divided evenly among its ranks
    return slices[:before_last] + _even_slices(lengths, works, max_tokens, ranks, slices[before_last].start)


def _padding_is_worth(lengths: list[int], slices: list[range], micro_batches: int) -> bool:
    padded = sum(len(part) * lengths[part.start] for part in slices)
    return padded * (1 - LITTLE_PADDING) > sum(lengths) and padded >= micro_batches * FEW_TOKENS


def _even_slices(lengths: list[int], works: list[float], max_tokens: int, most: int, start: int = 0) -> list[range]:
    """Cut lengths[start:] into at most `most` slices with the smallest possible largest work.

    A bisection over the limit of work. It is exact, because both ends only take values that a slice can have.
    """
    slices = _fill(lengths, works, max_tokens, start=start)
    low, high = works[start], max(len(part) * works[part.start] for part in slices)
    while low < high:
        limit = min((low + high) / 2, nextafter(high, low))  # the middle of two neighbours may round up
        trial = _fill(lengths, works, max_tokens, limit, start)
        if len(trial) <= most:
            slices, high = trial, max(len(part) * works[part.start] for part in trial)
        else:  # nothing changes until one of these has room for another row
            growing = [part for part in trial[:most] if (len(part) + 1) * lengths[part.start] <= max_tokens]
            low = min(((len(part) + 1) * works[part.start] for part in growing), default=high)
    return slices


def _fill(lengths: list[int], works: list[float], max_tokens: int, limit: float = inf, start: int = 0) -> list[range]:
    """Cut slices as long as the budget and the limit of work allow; no fewer are possible."""
    slices = []
    while start < len(lengths):
        rows = min(max_tokens // lengths[start], len(lengths) - start)
        if rows * works[start] > limit:
            rows = int(limit / works[start]) + 1
            while rows * works[start] > limit:  # the division rounds
                rows -= 1
        slices.append(range(start, start + rows))
        start += rows
    return slices


def _pack(lengths: list[int], max_tokens: int, cost: Cost, ranks: int) -> Iterable[Sequence[int]]:
    """Pack sequences into ranks × rounds bins of equal work that keep the budget."""
    works = [cost(length) for length in lengths]
    least = ceil(sum(lengths) / (max_tokens * ranks))
    for rounds in range(least, least + EXTRA_ROUNDS + 1):
        bins = largest_differencing(works, rounds * ranks)
        if all(sum(lengths[i] for i in members) <= max_tokens for members in bins):
            return bins
    return _lightest_with_room(lengths, works, max_tokens, least, ranks)


def largest_differencing(works: Sequence[float], bins: int) -> list[list[int]]:
    """Partition into at most `bins` sets of nearly equal work (multi-way Karmarkar and Karp 1982).

    Each work begins as a partition by itself. The two partitions of the largest difference (heaviest minus lightest
    set) become one, heavy sets with light ones, until one is left; only differences are kept. Works descend.
    """
    owner = np.arange(len(works))  # of a set: its own first member; otherwise a member of the set it was joined to
    heap = [(-work, i, np.array([work]), np.array([i])) for i, work in enumerate(works)]  # sets from heavy to light
    heapq.heapify(heap)
    for serial in range(len(works), 2 * len(works) - 1):
        _, _, one, one_sets = heapq.heappop(heap)
        _, _, other, other_sets = heapq.heappop(heap)
        own, others = min(len(one), bins - len(other)), min(len(other), bins - len(one))  # not joined with any
        owner[other_sets[others:]] = one_sets[own:][::-1]
        values = np.concatenate([one[:own], one[own:] + other[others:][::-1], other[:others]])
        sets = np.concatenate([one_sets, other_sets[:others]])
        descending = np.argsort(-values, kind="stable")
        values, sets = values[descending], sets[descending]
        if len(values) == bins:
            values -= values[-1]
        heapq.heappush(heap, (-values[0], serial, values, sets))
    while (owner != owner[owner]).any():
        owner = owner[owner]
    members: dict[int, list[int]] = {}
    for i, first in enumerate(owner.tolist()):
        members.setdefault(first, []).append(i)
    return list(members.values())


def _lightest_with_room(
    lengths: list[int], works: list[float], max_tokens: int, rounds: int, ranks: int
) -> list[list[int]]:
    """Place the longest first, each into the bin of least work that has room; add a round when none has."""
    bins: list[list[int]] = [[] for _ in range(rounds * ranks)]
    tokens, work = np.zeros(len(bins)), np.zeros(len(bins))
    for i, length in enumerate(lengths):
        room = np.flatnonzero(tokens + length <= max_tokens)
        if len(room) == 0:
            room = np.arange(len(bins), len(bins) + ranks)
            bins += [[] for _ in range(ranks)]
            tokens, work = np.pad(tokens, (0, ranks)), np.pad(work, (0, ranks))
        lightest = room[work[room].argmin()]
        bins[lightest].append(i)
        tokens[lightest] += length
        work[lightest] += works[i]
    return bins
