"""Request order: longest expected responses first."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from gmpo.types import Prompt

Key = tuple[str, int]  # benchmark and index of a prompt


class ExpectedLengths:
    """The mean length of the responses to each prompt when it was last asked.

    With more requests than an engine runs at a time, a long response that starts last ends alone. The order changes no
    response, only which is scored first; since a reward may draw random numbers, the lengths are part of a checkpoint.
    """

    def __init__(self) -> None:
        self.of: dict[Key, float] = {}  # tokens, the mean of a group

    def learn(self, groups: Iterable[tuple[Key, Sequence[int]]]) -> None:
        """Record the response lengths of each group, in tokens, by its prompt."""
        self.of.update((key, fmean(tokens)) for key, tokens in groups)

    def longest_first(self, prompts: Sequence[Prompt]) -> list[int]:
        """Return the places of prompts, longest responses first; a prompt that is new counts as average."""
        usual = fmean(self.of.values()) if self.of else 0.0
        expected = [self.of.get((prompt.benchmark_name, prompt.index), usual) for prompt in prompts]
        return sorted(range(len(prompts)), key=lambda place: -expected[place])

    def state_dict(self) -> dict[str, Any]:
        """Return the lengths for a checkpoint."""
        benchmarks, indices = zip(*self.of, strict=True) if self.of else ((), ())
        return {"benchmarks": list(benchmarks), "indices": list(indices), "tokens": list(self.of.values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the lengths of a checkpoint."""
        keys = zip(state["benchmarks"], state["indices"], strict=True)
        self.of = dict(zip(keys, state["tokens"], strict=True))
