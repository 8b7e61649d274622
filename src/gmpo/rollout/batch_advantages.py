"""The advantages of a rollout step, computed once from the rewards of all ranks."""

import inspect
from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor

from gmpo.batching import in_order
from gmpo.parallel.collectives import gather, rank
from gmpo.run.errors import RunError
from gmpo.types import Group

Advantage = Callable[..., Tensor]  # rewards float [B], group_ids int [B] -> float [B]


class BatchAdvantages:
    """Computes advantages over the whole batch, in the order of its prompts.

    The advantage gets the same tensors on every rank, so that one that normalises over the batch does not depend on
    the number of ranks. It is called with rewards and group ids, and with `lengths`, the tokens of each response int
    [B], if it takes an argument of this name.
    """

    def __init__(self, advantage: Advantage) -> None:
        self.advantage = advantage
        self.takes_lengths = "lengths" in inspect.signature(advantage).parameters

    def assign(self, groups: list[Group]) -> None:
        """Fill in the advantages of this rank's groups; collective.

        Raises RunError on every rank if they cannot be computed.
        """
        local = [[(r.shaped_reward, len(r.response.token_ids)) for r in group.rollouts] for group in groups]
        owned = [[(owner, each) for each in of_rank] for owner, of_rank in enumerate(gather(local))]
        batch = in_order(owned)
        fault: str | None = None
        values: list[list[float]] = []
        try:
            values = self._values([rollouts for _, rollouts in batch])
        except Exception as error:  # noqa: BLE001  (an advantage may be a user's code)
            fault = f"the advantage {type(self.advantage).__name__} failed: {type(error).__name__}: {error}"
        if faults := [found for found in gather(fault) if found is not None]:
            raise RunError(f"{faults[0]}: it takes rewards float [B] and group ids int [B], and returns float [B]")
        own = [advantages for (owner, _), advantages in zip(batch, values, strict=True) if owner == rank()]
        for group, advantages in zip(groups, own, strict=True):
            for rollout, advantage in zip(group.rollouts, advantages, strict=True):
                rollout.advantage = advantage

    def _values(self, groups: list[list[tuple[float, int]]]) -> list[list[float]]:
        """Return the advantages of each group."""
        rewards = torch.tensor([reward for group in groups for reward, _ in group], dtype=torch.float32)
        group_ids = torch.tensor([index for index, group in enumerate(groups) for _ in group])
        lengths = torch.tensor([tokens for group in groups for _, tokens in group])
        advantages = self.advantage(rewards, group_ids, **({"lengths": lengths} if self.takes_lengths else {}))
        if advantages.shape != rewards.shape:
            raise ValueError(f"it returned shape {list(advantages.shape)} for {len(rewards)} rewards")
        if rewards.isfinite().all() and not advantages.isfinite().all():
            raise ValueError("it returned values that are not finite, of rewards that are")
        ends = list(accumulate(len(group) for group in groups))
        return [advantages[end - len(group) : end].tolist() for end, group in zip(ends, groups, strict=True)]
