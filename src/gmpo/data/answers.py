"""The answer of a row: text or a number, whole or at the end of a solution."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from gmpo.data.columns import Column, Row, is_number, number_text, shown
from gmpo.verifier.extraction import last_boxed

Result = Literal["whole", "boxed", "after_hashes"]

# JSON and Python read \f of \frac as a form feed; likewise \a, \b, \t, \v, \r, and \n of these commands
LOST_BACKSLASH = re.compile(r"[\a\b\t\v\f\r](?=[A-Za-z])|\n(?=(?:eqq?|e(?= ?[-\d\\])|otin|abla|leq|geq|subseteq)\b)")
BLANKS = " \n"  # stripped in messages
LETTERS = {"\a": "a", "\b": "b", "\t": "t", "\v": "v", "\f": "f", "\r": "r", "\n": "n"}


class EmptyAnswerError(ValueError):
    """A row without an answer."""


@dataclass(frozen=True)
class AnswerColumn:
    r"""The column of the answer.

    result: "whole", all of the cell; "boxed", the last `\boxed{...}` of a solution; "after_hashes", the text after
    its last `####`, without thousands separators.
    """

    column: Column
    result: Result

    def read(self, row: Row, where: str) -> str:
        """Return the answer; raises EmptyAnswerError for none, ValueError for neither text nor number."""
        value = self.column.of(row, where)
        missing = value is None or (isinstance(value, float) and math.isnan(value))  # as tables write it
        text = "" if missing else self._text(value, where)
        if not text.strip():
            raise EmptyAnswerError(f"{where}: column {self.column.path!r} is empty")
        answer = self._find(text)
        if answer is None and self.result == "boxed" and "\boxed" in text:  # a backspace, then oxed
            answer = text[text.index("\boxed") :]
        if answer is None:
            wanted = {"boxed": "a \\boxed{RESULT}", "after_hashes": "#### RESULT"}[self.result]
            raise EmptyAnswerError(
                f"{where}: column {self.column.path!r} must hold {wanted}, found {text.strip()[-60:]!r}"
            )
        self._check_backslashes(answer, where)
        return answer.strip()

    def one_of_several(self, row: Row, where: str) -> bool:
        """Return whether the answer is an element of a list with several."""
        whole = self.column.list
        value = None if whole is None else whole.of(row, where)
        return isinstance(value, list) and len(value) > 1

    def _check_backslashes(self, answer: str, where: str) -> None:
        if lost := LOST_BACKSLASH.search(answer):
            command = re.match(r"[A-Za-z]*", answer[lost.end() :])
            assert command is not None
            name = LETTERS[lost[0]] + command[0]
            raise ValueError(
                f"{where}: column {self.column.path!r} holds {answer.strip(BLANKS)!r}, where \\{name} has lost its "
                f"backslash; write it with two in JSON, as \\\\{name}, or fix what made the file"
            )

    def _text(self, value: object, where: str) -> str:
        if isinstance(value, str):
            return value
        if is_number(value):
            try:
                return number_text(value)
            except ValueError as error:
                raise ValueError(f"{where}: column {self.column.path!r}: {error}") from None
        path = self.column.path
        element = (
            f" ({self.column.option}={path}.0 for the first of a list): right only if they are alternatives; if "
            "all are required, join them into one text, such as '3, 5'"
        )
        raise ValueError(
            f"{where}: column {path!r} must hold text or a number, found {shown(value)}; "
            f"choose another by {self.column.option}=COLUMN{element if isinstance(value, list) else ''}"
        )

    def _find(self, text: str) -> str | None:
        if self.result == "whole":
            return text
        if self.result == "boxed":
            boxed = last_boxed(text)
            return boxed if boxed is not None and boxed.strip() else None
        _, _, answer = text.rpartition("####") if "####" in text else ("", "", "")
        return answer.replace(",", "") if answer.strip() else None
