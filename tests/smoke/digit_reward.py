"""A user's own reward: one class, named by reward._target_."""

from collections.abc import Sequence


class DigitShare:
    """The share of a response's characters that are digits: a random model can learn it in a few steps."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [sum(c.isdigit() for c in response) / max(len(response), 1) for response in responses]
