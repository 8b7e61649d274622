"""A user's own reward: one class, named by reward._target_."""

from collections.abc import Sequence


class DigitShare:
    """The share of a response's characters that are digits: a random model can learn it in a few steps."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [sum(c.isdigit() for c in response) / max(len(response), 1) for response in responses]


class EarlyDigit:
    """1 where one of the first three characters is a digit: most groups of a random model have equal rewards."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [float(any(c.isdigit() for c in response[:3])) for response in responses]


class Zero:
    """No response is ever worth anything."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [0.0 for _ in responses]
