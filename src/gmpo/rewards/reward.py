"""What a reward is."""

from collections.abc import Sequence
from typing import Protocol


class Reward(Protocol):
    """Scores responses against answers."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        """One number for each response; it never raises for a strange response."""
        ...
