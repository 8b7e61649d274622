"""The reward of problems whose answer is one number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

# a minus right after a digit or a bracket is a subtraction, not a sign
NUMBER = re.compile(r"(?:(?<![\d)\]])-)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")


@dataclass(frozen=True)
class ExactMatch:
    """1 where the last number of the response is the answer, else 0.

    After a `marker` only what follows its last occurrence counts; a response without it is read whole. Numbers
    compare by value: 1,024 and 1024.0 are the same.
    """

    marker: str = "####"

    def __post_init__(self) -> None:
        if not self.marker:
            raise ValueError(f"reward.marker={self.marker!r} must be text, such as '####'")

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        """As `Reward`."""
        return [
            float(self._number(response) == self._number(answer) is not None)
            for response, answer in zip(responses, answers, strict=True)
        ]

    def _number(self, text: str) -> Decimal | None:
        numbers = NUMBER.findall(text.rpartition(self.marker)[2].replace("\u2212", "-"))
        return Decimal(numbers[-1].replace(",", "")) if numbers else None
