"""In which order an engine is asked."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from gmpo.types import Prompt

Key = tuple[str, int]  # benchmark and index of a prompt


class ExpectedLengths:
    """How long the responses to a prompt were when it was last asked.

    Where there are more requests than an engine works on at a time, a long response among those that begin last ends
    alone. The order changes no response, but which of them is scored first: a reward may draw random numbers, so that
    the lengths are part of a checkpoint.
    """

    def __init__(self) -> None:
        self.of: dict[Key, float] = {}  # tokens, the mean of a group

    def learn(self, groups: Iterable[tuple[Key, Sequence[int]]]) -> None:
        """Of each group its prompt, and the tokens of its responses."""
        self.of.update((key, fmean(tokens)) for key, tokens in groups)

    def longest_first(self, prompts: Sequence[Prompt]) -> list[int]:
        """The places of prompts; those that were not asked before are taken for usual ones."""
        usual = fmean(self.of.values()) if self.of else 0.0
        expected = [self.of.get((prompt.benchmark_name, prompt.index), usual) for prompt in prompts]
        return sorted(range(len(prompts)), key=lambda place: -expected[place])

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        benchmarks, indices = zip(*self.of, strict=True) if self.of else ((), ())
        return {"benchmarks": list(benchmarks), "indices": list(indices), "tokens": list(self.of.values())}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take them from there."""
        keys = zip(state["benchmarks"], state["indices"], strict=True)
        self.of = dict(zip(keys, state["tokens"], strict=True))
