"""Access to the cells of a row: columns by name, and values within them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeGuard

MOST_DIGITS = 4300  # of an integer that Python parses
Row = dict[str, object]
Located = tuple[Row, str]  # a row, and its location for messages: "FILE, line 3"


@dataclass(frozen=True)
class Column:
    """A column, or by a dotted path a value within one: "reward_model.ground_truth", "answer.0".

    A number selects an element of a list. A plain value counts as a list of one, so "answer.0" works for data sets with
    and without lists. Beyond the end of a list, and within None, the value is None.
    """

    path: str
    option: str  # the option that sets it: "data.answer"
    form: str = "COLUMN"  # of the option's value, for messages

    def of(self, row: Row, where: str) -> object:
        """Return this cell of the row. Raises ValueError where there is no such column."""
        if self.path in row:  # a name may hold a dot
            return row[self.path]
        value: object = row
        for name in self.path.split("."):
            if isinstance(value, dict):
                if name not in value:
                    raise ValueError(
                        f"{where} lacks column {self.path!r}; found {names(value)}{_verl(value)}. "
                        f"Choose one by {self._remedy}"
                    )
                value = value[name]
            elif value is None:
                return None
            elif name.isdigit():
                elements = value if isinstance(value, list) else [value]
                value = elements[int(name)] if int(name) < len(elements) else None
            else:
                raise ValueError(
                    f"{where}: column {self.path!r} asks for {name!r} within {shown(value)}; "
                    f"choose another by {self._remedy}"
                )
        return value

    @property
    def list(self) -> "Column | None":
        """The column whose element this is; None where the path does not end in a number."""
        path, _, last = self.path.rpartition(".")
        return Column(path, self.option, self.form) if path and last.isdigit() else None

    @property
    def _remedy(self) -> str:
        return f"{self.option}={self.form}"


def _verl(columns: Iterable[str]) -> str:
    return " (verl's format: data=verl reads it)" if {"prompt", "reward_model"} <= {*columns} else ""


def to_read(paths: Iterable[str], available: Sequence[str]) -> list[str]:
    """Return the columns of a table that the paths need; all if one is missing, so that a message can list them."""
    wanted = {path if path in available else path.split(".")[0] for path in paths}
    return [name for name in available if name in wanted or not wanted <= {*available}]


def names(columns: Iterable[str]) -> str:
    """Return a phrase such as: columns 'question', 'answer'."""
    listed = ", ".join(map(repr, columns))
    return f"column{'s' if ', ' in listed else ''} {listed}" if listed else "no column"


def shown(value: object) -> str:
    """Return a cell for a message: its type and beginning."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    kind = "number" if isinstance(value, Decimal) else type(value).__name__
    return f"{kind} {text if len(text) <= 60 else text[:57] + '...'}"


def cell_text(value: object) -> str:
    """Return a cell as text for comparison: stripped, a number in digits, null for none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or value != value:  # tables have NaN for missing values
        return "null"
    return number_text(value) if is_number(value) else str(value).strip()


def is_number(value: object) -> TypeGuard[int | float | Decimal]:
    """Return whether a cell holds a finite number; true and false do not count."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return value.is_finite()
    return isinstance(value, int) and not isinstance(value, bool)


def number_text(value: int | float | Decimal) -> str:
    """Return a finite number in digits, exact and without an exponent: 142.0 is "142", 1e20 has 21 digits.

    Raises ValueError for more digits than Python parses.
    """
    if isinstance(value, int):
        return str(value)
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if exact == 0:
        return "0"  # also for -0.0
    if abs(exact.adjusted()) > MOST_DIGITS:
        raise ValueError(f"the number {exact} has more than {MOST_DIGITS} digits; write it as text")
    text = format(exact, "f")
    return text.rstrip("0").removesuffix(".") if "." in text else text
