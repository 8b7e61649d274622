"""Timing of the stages of a rollout step."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any


class StepClock:
    """The seconds spent in each stage of the current rollout step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.on_stage: list[Callable[[str], None]] = []  # called with each stage's name as it begins
        self.on_responses: list[Callable[[int, int], None]] = []  # called with the finished and requested counts
        self.mark: Callable[[str], AbstractContextManager[Any]] = (
            nullcontext  # entered around each stage, with its name
        )
        self._began = time.perf_counter()

    def restart(self) -> None:
        """Begin a rollout step."""
        self.seconds.clear()
        self._began = time.perf_counter()

    def count_responses(self, finished: int, asked: int) -> None:
        """Report how many of the requested responses are finished."""
        for listener in self.on_responses:
            listener(finished, asked)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of the block to `stage`."""
        for listener in self.on_stage:
            listener(stage)
        began = time.perf_counter()
        try:
            with self.mark(stage):
                yield
        finally:
            self.seconds[stage] += time.perf_counter() - began

    def elapsed(self) -> float:
        """Return the seconds since the rollout step began."""
        return time.perf_counter() - self._began
