"""Where the time of a rollout step goes."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StepClock:
    """Seconds spent in each stage of the current rollout step, and the stage at work now."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.stage = ""
        self.on_stage: list[Callable[[str], None]] = []  # told the name of each stage as it begins

    def restart(self) -> None:
        """Begin a rollout step."""
        self.seconds.clear()
        self._began = time.perf_counter()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what runs inside towards `stage`."""
        outer, self.stage = self.stage, stage
        for listener in self.on_stage:
            listener(stage)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - began
            self.stage = outer

    def elapsed(self) -> float:
        """Seconds since the rollout step began."""
        return time.perf_counter() - self._began

    _began = 0.0
