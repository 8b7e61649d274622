"""A row of the table of settings, and kinds that many rows share."""

from dataclasses import dataclass

from gmpo.settings.kinds import Kind, ListOf, Number, Switch, Text, or_null


@dataclass(frozen=True)
class Row:
    """One setting.

    text: its description. unit: of a number, and of what. note: what an error message adds to the kind.
    """

    kind: Kind
    text: str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Section:
    """Settings of one subject. In a key, * matches any name."""

    title: str
    rows: dict[str, Row]


SIZE = Number(1, whole=True)
COUNT = Number(0, whole=True)
POSITIVE = Number(0, above=True)
NOT_NEGATIVE = Number(0)
FRACTION = Number(0, 1, above=True)
SECONDS = Number(0, 1e8, above=True)
NUMBER = Number()
SWITCH = Switch()
TEXT = Text()
NAME = Text(empty=False, numbers=True)
SIZE_OR_NULL = or_null(SIZE)
POSITIVE_OR_NULL = or_null(POSITIVE)
TEXT_OR_NULL = or_null(TEXT)
NAME_OR_NULL = or_null(NAME)
NAMES_OR_NULL = or_null(ListOf(Text(empty=False)))
OFF_AT_0 = "; 0 switches it off"
