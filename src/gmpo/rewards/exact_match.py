"""The reward of problems whose answer is one number."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from gmpo.rewards.reward import Instant
from gmpo.verifier.extraction import numbers


@dataclass(frozen=True)
class ExactMatch(Instant):
    """1 where the number that the response ends in is the answer, else 0.

    It is the first number after the last `marker`; in a response without the marker, the last number. Numbers compare
    by value: 1,024 and 1024.0 are the same.
    """

    marker: str = "####"

    def __post_init__(self) -> None:
        if not self.marker:
            raise ValueError(f"reward.marker={self.marker!r} must be text, such as '####'")

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [
            float(self._number(response) == self._number(answer) is not None)
            for response, answer in zip(responses, answers, strict=True)
        ]

    def answer(self, response: str) -> str | None:
        """Return the number that counts."""
        number = self._number(response)
        return None if number is None else f"{number:f}"

    def _number(self, text: str) -> Decimal | None:
        _, marker, rest = text.rpartition(self.marker)
        found = numbers(rest)
        return Decimal(found[0 if marker else -1]) if found else None
