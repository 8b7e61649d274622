"""Dynamic sampling: batches in which every group carries a signal."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gmpo.types import Group


@dataclass(slots=True)
class Refilled:
    """A batch after its refills, with the groups they replaced."""

    groups: list[Group]
    discarded: list[Group] = field(default_factory=list)  # without a signal, replaced
    refills: int = 0  # rounds of generation beyond the first

    def zero_advantage_places(self) -> list[int]:
        """Return the places of groups without a signal."""
        return [place for place, group in enumerate(self.groups) if group.zero_advantage]


@dataclass(frozen=True)
class DynamicSampling:
    """Replaces groups whose rewards are all equal by groups of fresh prompts (DAPO, arXiv:2503.14476, section 3.2).

    A round generates as many groups as still lack a signal on all ranks; after max_refills rounds the batch is taken
    as it is.
    """

    max_refills: int = 0  # rounds; 0: off

    def __post_init__(self) -> None:
        if type(self.max_refills) is not int or self.max_refills < 0:
            raise ValueError(f"dynamic_sampling.max_refills={self.max_refills} must be a whole number; 0 is off")

    def refill(
        self,
        groups: list[Group],
        fresh: Callable[[list[int]], list[Group]],
        gather: Callable[[list[int]], list[list[int]]] = lambda own: [own],
        rank: int = 0,
    ) -> Refilled:
        """Return `groups`, with those that lack a signal replaced.

        gather: returns the values of all ranks, so that all make the same number of rounds. fresh: called on every
        rank with the rank of each empty place, in the order of the batch; returns scored groups for this rank's own.
        """
        batch = Refilled(list(groups))
        while batch.refills < self.max_refills:
            on_ranks = gather(batch.zero_advantage_places())
            empty = sorted((place, owner) for owner, places in enumerate(on_ranks) for place in places)
            if not empty:
                break
            own = [place for place, owner in empty if owner == rank]
            for place, group in zip(own, fresh([owner for _, owner in empty]), strict=True):
                batch.discarded.append(batch.groups[place])
                batch.groups[place] = group
            batch.refills += 1
        return batch
