"""Which cell of a row: columns by name, and what lies within them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Row = dict[str, object]
Located = tuple[Row, str]  # a row, and where it stands, for messages: "FILE, line 3"


@dataclass(frozen=True)
class Column:
    """A column, or by a dotted path what lies within one: "reward_model.ground_truth", "answer.0".

    A number takes an element of a list. A plain value counts as a list of one, so "answer.0" serves data sets
    that have lists and those that do not; there is nothing, None, beyond the end of a list or within None.
    """

    path: str
    option: str  # what chooses another one: "data.answer"

    def of(self, row: Row, where: str) -> object:
        """This cell of the row. Raises ValueError where there is no such column."""
        if self.path in row:  # a name may hold a dot
            return row[self.path]
        value: object = row
        for name in self.path.split("."):
            if isinstance(value, dict):
                if name not in value:
                    raise ValueError(
                        f"{where} lacks column {self.path!r}; found {names(value)}. Choose one by {self.option}=COLUMN"
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
                    f"choose another by {self.option}=COLUMN"
                )
        return value


def to_read(paths: Iterable[str], available: Sequence[str]) -> list[str]:
    """The columns of a table that the paths need; all of them where one is missing, so that a message can name them."""
    wanted = {path if path in available else path.split(".")[0] for path in paths}
    return [name for name in available if name in wanted or not wanted <= {*available}]


def names(columns: Iterable[str]) -> str:
    """Such as: columns 'question', 'answer'."""
    listed = ", ".join(map(repr, columns))
    return f"column{'s' if ', ' in listed else ''} {listed}" if listed else "no column"


def shown(value: object) -> str:
    """A cell for a message: its type and how it begins."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
