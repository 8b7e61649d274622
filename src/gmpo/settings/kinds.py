"""Kinds of values that a key of the config takes, and their names in messages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from omegaconf import DictConfig, ListConfig


class Kind(Protocol):
    """The values that a key takes. Its text follows "must be"."""

    def holds(self, value: Any) -> bool:
        """Return whether the value is of this kind."""
        ...


@dataclass(frozen=True)
class Number:
    """A finite number.

    least, most: inclusive bounds; with `above`, least is exclusive. whole: integers only.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Return whether a value is a number within the bounds."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return math.isfinite(value) and self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        bounds = ""
        if self.most < math.inf:
            bounds = f" {'above' if self.above else 'from'} {self.least:g} to {self.most:g}"
        elif self.least > -math.inf:
            bounds = f" {'above' if self.above else 'of at least'} {self.least:g}"
        return f"a {'whole ' * self.whole}number{bounds}"


@dataclass(frozen=True)
class Switch:
    """True or false; a text that reads like one of them is refused."""

    def holds(self, value: Any) -> bool:
        """Return whether a value is a Boolean."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Text:
    """A text. empty: may be empty. numbers: accepts a number as a text, as in run.name=7."""

    empty: bool = True
    numbers: bool = False

    def holds(self, value: Any) -> bool:
        """Return whether a value is a text."""
        if self.numbers and isinstance(value, int | float) and not isinstance(value, bool):
            return True
        return isinstance(value, str) and (self.empty or value != "")

    def __str__(self) -> str:
        return "a text" if self.empty else "a text of at least one character"


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[str | int | None, ...]

    def holds(self, value: Any) -> bool:
        """Return whether a value is one of them; true does not count as 1."""
        return any(type(value) is type(choice) and value == choice for choice in self.values)

    def __str__(self) -> str:
        names = ["null" if value is None else str(value) for value in self.values]
        return " or ".join(names) if len(names) < 3 else f"one of {', '.join(names)}"


@dataclass(frozen=True)
class ListOf:
    """A list whose entries are of one kind."""

    entry: Kind
    example: str = ""

    def holds(self, value: Any) -> bool:
        """Return whether a value is a list of such entries."""
        return isinstance(value, list | tuple | ListConfig) and all(map(self.entry.holds, value))

    def __str__(self) -> str:
        return f"a list{f' such as {self.example}' if self.example else ''}, each entry {self.entry}"


@dataclass(frozen=True)
class Keys:
    """A mapping with keys of its own. what: its name in a message."""

    what: str = "keys and values, such as {KEY: VALUE}"

    def holds(self, value: Any) -> bool:
        """Return whether a value has keys."""
        return isinstance(value, dict | DictConfig)

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True)
class Either:
    """Any of several kinds."""

    kinds: tuple[Kind, ...]

    def holds(self, value: Any) -> bool:
        """Return whether a value is of one of the kinds."""
        return any(kind.holds(value) for kind in self.kinds)

    def __str__(self) -> str:
        return ", or ".join(map(str, self.kinds))


NULL = Choice((None,))


def choice(*values: str | int) -> Choice:
    """Return the kind of one of these values."""
    return Choice(values)


def or_null(kind: Kind) -> Kind:
    """Return a kind that may be left out."""
    return Either((kind, NULL))


def may_be_null(kind: Kind) -> bool:
    """Return whether a kind may be left out."""
    return kind.holds(None)
