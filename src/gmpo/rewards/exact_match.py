"""The reward of problems whose answer is one number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class ExactMatch:
    """1 where the last number of the response is the answer, else 0.

    After a `marker` only what follows its last occurrence counts; a response without it is read whole. Numbers
    compare by value: 1,024 and 1024.0 are the same.
    """

    marker: str = "####"

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        """As `Reward`."""
        return [
            float(self._number(response) == self._number(answer) is not None)
            for response, answer in zip(responses, answers, strict=True)
        ]

    def _number(self, text: str) -> Decimal | None:
        numbers = NUMBER.findall(text.rpartition(self.marker)[2])
        return Decimal(numbers[-1].replace(",", "")) if numbers else None
