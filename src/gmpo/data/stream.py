"""An endless stream of prompts in a seeded order."""

from collections.abc import Sequence

import numpy as np

from gmpo.types import Prompt


class PromptStream:
    """A stream of prompts, epoch after epoch, each in an order of its own.

    The order depends only on the seed and the state is one number, so a resumed stream draws the same prompts as one
    that was not interrupted.
    """

    def __init__(self, prompts: Sequence[Prompt], seed: int) -> None:
        self.prompts = prompts
        self.seed = seed
        self.position = 0  # prompts drawn so far
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)  # the order of the epoch drawn from last

    def draw(self, count: int) -> list[Prompt]:
        """Return the next `count` prompts."""
        drawn = self.peek(count)
        self.position += count
        return drawn

    def peek(self, count: int) -> list[Prompt]:
        """Return what `draw` would return, without drawing it."""
        return [self._at(position) for position in range(self.position, self.position + count)]

    def _at(self, position: int) -> Prompt:
        epoch, place = divmod(position, len(self.prompts))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.prompts))
        return self.prompts[self._order[place]]
