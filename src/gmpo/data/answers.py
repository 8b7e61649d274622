"""The answer of a row: text or a number, whole or at the end of a solution."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from gmpo.data.columns import Column, Row, shown
from gmpo.rewards.extraction import last_boxed

Result = Literal["whole", "boxed", "after_hashes"]


class EmptyAnswerError(ValueError):
    """A row without an answer."""


@dataclass(frozen=True)
class AnswerColumn:
    r"""Where the answer stands.

    result: "whole", all of the cell; "boxed", the last `\boxed{...}` of a solution; "after_hashes", what follows
    its last `####`, without the commas of thousands.
    """

    column: Column
    result: Result

    def read(self, row: Row, where: str) -> str:
        """The answer. Raises EmptyAnswerError where there is none, ValueError where it is neither text nor number."""
        value = self.column.of(row, where)
        missing = value is None or (isinstance(value, float) and math.isnan(value))  # as tables write it
        text = None if missing else self._text(value, where)
        if not text:
            raise EmptyAnswerError(f"{where}: column {self.column.path!r} is empty")
        answer = self._find(text)
        if answer is None:
            wanted = {"boxed": "a \\boxed{RESULT}", "after_hashes": "#### RESULT"}[self.result]
            raise EmptyAnswerError(f"{where}: column {self.column.path!r} must hold {wanted}, found {text[-60:]!r}")
        return answer

    def _text(self, value: object, where: str) -> str:
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, float) and math.isfinite(value):
            return number_text(value)
        if isinstance(value, Decimal) and value.is_finite():
            return format(value.normalize(), "f")
        path = self.column.path
        element = f" ({self.column.option}={path}.0 for the first of a list)" if isinstance(value, list) else ""
        raise ValueError(
            f"{where}: column {path!r} must hold text or a number, found {shown(value)}; "
            f"choose another by {self.column.option}=COLUMN{element}"
        )

    def _find(self, text: str) -> str | None:
        if self.result == "whole":
            return text
        if self.result == "boxed":
            boxed = last_boxed(text)
            return boxed.strip() or None if boxed is not None else None
        _, marker, answer = text.rpartition("####")
        return answer.strip().replace(",", "") or None if marker else None


def number_text(value: float) -> str:
    """A finite float in digits, never with an exponent: 142.0 is "142", 0.5 is "0.5", 1e20 has 21 digits."""
    if value == 0:
        return "0"  # the negative one too
    return format(Decimal(repr(value)), "f").removesuffix(".0")
