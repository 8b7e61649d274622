"""The question of a row: text or a chat, with or without the instruction that its data set wraps it in."""

from dataclasses import dataclass
from typing import Literal

from gmpo.data.columns import Column, Row, shown

QuestionFormat = Literal["text", "chat"]


@dataclass(frozen=True)
class Wrapping:
    """What a data set puts before and after every question."""

    prefix: str = ""
    suffix: str = ""

    def cut(self, text: str) -> str:
        """The question alone; a text that is not wrapped stays as it is."""
        wrapped = text.startswith(self.prefix) and text.endswith(self.suffix)
        return text[len(self.prefix) : len(text) - len(self.suffix)] if wrapped else text


@dataclass(frozen=True)
class QuestionColumn:
    """Where the question stands: as text, or as a chat, a list of {role, content}.

    Of a chat the user's messages are the question; a system message is left to the template.
    """

    column: Column
    format: QuestionFormat
    format_option: str  # what chooses the other: "data.question_format"

    def read(self, row: Row, where: str) -> str:
        """The question, empty where there is none. Raises ValueError where it has another format."""
        value = self.column.of(row, where)
        if value is None:
            return ""
        return self._chat(value, where) if self.format == "chat" else self._text(value, where)

    def _text(self, value: object, where: str) -> str:
        if isinstance(value, str):
            return value
        chat = isinstance(value, list) and all(isinstance(message, dict) for message in value)
        raise self._wrong(value, where, "text", f"{self.format_option}=chat reads a chat" if chat else "")

    def _chat(self, value: object, where: str) -> str:
        other = f"{self.format_option}=text reads text" if isinstance(value, str) else ""
        if not isinstance(value, list):
            raise self._wrong(value, where, "a chat, a list of {role, content}", other)
        said: list[str] = []
        for message in value:
            match message:
                case {"role": "user", "content": str(content)}:
                    said.append(content)
                case {"role": "system"}:
                    pass
                case _:
                    raise self._wrong(message, where, "messages of the user or the system, {role, content}", "")
        return "\n\n".join(said)

    def _wrong(self, value: object, where: str, expected: str, remedy: str) -> ValueError:
        choose = remedy or f"choose another by {self.column.option}=COLUMN"
        return ValueError(f"{where}: column {self.column.path!r} must hold {expected}, found {shown(value)}; {choose}")
