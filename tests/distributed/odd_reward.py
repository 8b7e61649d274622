"""A reward by which about half of all groups of two carry no signal."""

from collections.abc import Sequence


class Odd:
    """1 for a response of an odd number of characters."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [float(len(response) % 2) for response in responses]
