"""From rows to questions and answers."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gmpo.data.answers import AnswerColumn, EmptyAnswerError
from gmpo.data.columns import Column, Located, Row
from gmpo.data.questions import QuestionColumn, Wrapping
from gmpo.data.selection import Found, Question

log = logging.getLogger(__name__)
OTHER_LEVEL = "are not of the levels asked for and are dropped"
NO_ANSWER = "have no answer and are dropped"
NOT_WRAPPED = "are not in the wrapping of this data set and stay as they are"
LEVEL = re.compile(r"(?:level\s*)?(\d{1,9})(?:\.0)?", re.IGNORECASE)


@dataclass(frozen=True)
class RowReader:
    """What is made of each row of a data set."""

    source: str
    question: QuestionColumn
    answer: AnswerColumn
    level: Column
    levels: Sequence[int] | None  # only rows of these
    wrapping: Wrapping | None
    cut_wrapping: bool
    drop_empty: str | None  # the option by which rows without an answer can be left out; None: they are

    @property
    def columns(self) -> list[str]:
        """The columns that are needed."""
        columns = [self.question.column.path, self.answer.column.path]
        return columns if self.levels is None else [*columns, self.level.path]

    def read(self, rows: Iterable[Located], label: str) -> Iterator[Found]:
        """The rows that are used, one at a time; says how many are not. Raises ValueError where one cannot be read."""
        unusual = _Tally()
        count = used = 0
        for row, where in rows:
            count += 1
            if self.levels is not None and level_of(self.level.of(row, where)) not in self.levels:
                unusual.add(OTHER_LEVEL, where)
                continue
            text, bare = self._texts(row, where)
            try:
                answer = self.answer.read(row, where)
            except EmptyAnswerError as error:
                if self.drop_empty is not None:
                    raise ValueError(f"{error}; mend the row, or leave such rows out by {self.drop_empty}") from error
                unusual.add(NO_ANSWER, where)
                continue
            if self.cut_wrapping and bare == text:
                unusual.add(NOT_WRAPPED, where)
            _check_characters(answer, where, self.answer.column.path)
            used += 1
            yield Found(Question(bare if self.cut_wrapping else text, answer, self.source), bare.strip(), where)
        unusual.say(label, count)
        if not used:
            raise ValueError(f"{label}: none of {count} rows is left; choose other columns or levels")

    def _texts(self, row: Row, where: str) -> tuple[str, str]:
        """The question with and without its wrapping."""
        text = self.question.read(row, where)
        bare = text if self.wrapping is None else self.wrapping.cut(text)
        if not bare.strip():
            raise ValueError(f"{where}: column {self.question.column.path!r} holds no question; mend or delete the row")
        _check_characters(text, where, self.question.column.path)
        return text, bare


def _check_characters(text: str, where: str, column: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: column {column!r} holds half a character ({error}); mend the row") from error


def level_of(value: object) -> int | None:
    """3 for 3, "3" and "Level 3"; None where there is no number, as in "Level ?"."""
    match = LEVEL.fullmatch(str(value).strip())
    return int(match[1]) if match else None


class _Tally:
    """How many rows there are of a kind, and where the first stands."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, kind: str, where: str) -> None:
        self.counts[kind] += 1
        self.first.setdefault(kind, where)

    def say(self, label: str, rows: int) -> None:
        for kind, count in self.counts.items():
            log.info("%s: %d of %d rows %s (the first: %s)", label, count, rows, kind, self.first[kind])
