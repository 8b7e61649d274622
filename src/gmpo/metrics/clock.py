"""Where the time of a rollout step goes."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any


class StepClock:
    """Seconds spent in each stage of the current rollout step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.on_stage: list[Callable[[str], None]] = []  # told the name of each stage as it begins
        self.on_responses: list[Callable[[int, int], None]] = []  # told how many are finished, and of how many
        self.mark: Callable[[str], AbstractContextManager[Any]] = nullcontext  # put around each stage, by its name
        self._began = time.perf_counter()

    def restart(self) -> None:
        """Begin a rollout step."""
        self.seconds.clear()
        self._began = time.perf_counter()

    def count_responses(self, finished: int, asked: int) -> None:
        """Say how many responses of those that an engine was asked for are finished."""
        for listener in self.on_responses:
            listener(finished, asked)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what runs inside towards `stage`."""
        for listener in self.on_stage:
            listener(stage)
        began = time.perf_counter()
        try:
            with self.mark(stage):
                yield
        finally:
            self.seconds[stage] += time.perf_counter() - began

    def elapsed(self) -> float:
        """Seconds since the rollout step began."""
        return time.perf_counter() - self._began
