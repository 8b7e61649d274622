"""Conversion of rows to questions and answers."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gmpo.data.answers import AnswerColumn, EmptyAnswerError
from gmpo.data.columns import Column, Located, Row, cell_text
from gmpo.data.questions import Asked, QuestionColumn, Wrapping
from gmpo.data.selection import Found, Question

log = logging.getLogger(__name__)
OTHER_LEVEL = "are not of the levels asked for and are dropped"
NO_ANSWER = "have no answer and are dropped"
NOT_WRAPPED = "are not in the wrapping of this data set and stay as they are"
SEVERAL = "have a list of answers, of which the one in {column!r} is taken: right only where they are alternatives"
LEFT_OUT = "have {value} in column {column!r} and are left out"
LEVEL = re.compile(r"(?:level\s*)?(\d{1,9})(?:\.0)?", re.IGNORECASE)


@dataclass(frozen=True)
class RowReader:
    """Converts the rows of a data set to questions."""

    benchmark_name: str
    question: QuestionColumn
    answer: AnswerColumn
    level: Column
    levels: Sequence[int] | None  # only rows of these levels
    wrapping: Wrapping | None
    cut_wrapping: bool
    drop_empty: str | None  # the option that drops rows without an answer; None: they are dropped
    leave_out: Mapping[Column, Sequence[str]] = field(
        default_factory=dict
    )  # rows with one of these values, as `cell_text` gives them

    @property
    def columns(self) -> list[str]:
        """The required columns."""
        columns = [self.question.column.path, self.answer.column.path, *(column.path for column in self.leave_out)]
        return columns if self.levels is None else [*columns, self.level.path]

    def read(self, rows: Iterable[Located], label: str) -> Iterator[Found]:
        """Yield the usable rows, and log how many are not used; raises ValueError where one cannot be read."""
        unusual, noted = _Tally(), _Tally()
        count = used = 0
        for row, where in rows:
            count += 1
            if unwanted := self._unwanted(row, where):
                unusual.add(unwanted, where)
                continue
            if self.levels is not None and level_of(self.level.of(row, where)) not in self.levels:
                unusual.add(OTHER_LEVEL, where)
                continue
            asked, bare = self._asked(row, where)
            try:
                answer = self.answer.read(row, where)
            except EmptyAnswerError as error:
                if self.drop_empty is not None:
                    raise ValueError(f"{error}; fix the row, or leave such rows out by {self.drop_empty}") from error
                unusual.add(NO_ANSWER, where)
                continue
            if self.cut_wrapping and bare == asked:
                unusual.add(NOT_WRAPPED, where)
            if self.answer.one_of_several(row, where):
                noted.add(SEVERAL.format(column=self.answer.column.path), where)
            _check_characters(answer, where, self.answer.column.path)
            used += 1
            kept = bare if self.cut_wrapping else asked
            yield Found(
                Question(kept.text, answer, self.benchmark_name, kept.chat, bare.problem, where), bare.key, where
            )
        unusual.say(label, count)
        noted.say(label, count)
        for column, values in self.leave_out.items():
            for value in values:
                if LEFT_OUT.format(value=value, column=column.path) not in unusual.counts:
                    log.info("%s: no row has %s in column %r (%s)", label, value, column.path, column.option)
        if not used:
            raise ValueError(f"{label}: none of {count} rows is left; choose other columns or levels")

    def _unwanted(self, row: Row, where: str) -> str | None:
        """Return the reason to leave a row out."""
        for column, values in self.leave_out.items():
            value = cell_text(column.of(row, where))
            if value in values:
                return LEFT_OUT.format(value=value, column=column.path)
        return None

    def _asked(self, row: Row, where: str) -> tuple[Asked, Asked]:
        """Return the question with and without its wrapping."""
        asked = self.question.read(row, where)
        bare = asked.without(self.wrapping)
        if not bare.text.strip():
            raise ValueError(f"{where}: column {self.question.column.path!r} holds no question; fix or delete the row")
        for text in (asked.text, *(str(message["content"]) for message in asked.chat or ())):
            _check_characters(text, where, self.question.column.path)
        return asked, bare


def _check_characters(text: str, where: str, column: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: column {column!r} holds half a character ({error}); fix the row") from error


def level_of(value: object) -> int | None:
    """Return 3 for 3, "3" and "Level 3"; None where there is no number, as in "Level ?"."""
    match = LEVEL.fullmatch(str(value).strip())
    return int(match[1]) if match else None


class _Tally:
    """Counts of rows by kind, with the location of the first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, kind: str, where: str) -> None:
        self.counts[kind] += 1
        self.first.setdefault(kind, where)

    def say(self, label: str, rows: int) -> None:
        for kind, count in self.counts.items():
            log.info("%s: %d of %d rows %s (the first: %s)", label, count, rows, kind, self.first[kind])
