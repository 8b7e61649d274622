"""The question of a row: text or a chat, with or without the instruction that its data set wraps it in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gmpo.data.columns import Column, Row, shown
from gmpo.data.selection import Message

QuestionFormat = Literal["text", "chat"]
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Wrapping:
    """The text that a data set puts before and after every question."""

    prefix: str = ""
    suffix: str = ""

    def cut(self, text: str) -> str:
        """Return the question alone; a text that is not wrapped stays as it is."""
        wrapped = text.startswith(self.prefix) and text.endswith(self.suffix)
        return text[len(self.prefix) : len(text) - len(self.suffix)] if wrapped else text


@dataclass(frozen=True)
class Asked:
    """A row's question, and the chat that it ends, if any.

    text: the user's words since the last answer. chat: all messages; None if the user's question is the only one.
    """

    text: str
    chat: tuple[Message, ...] | None = None

    def without(self, wrapping: Wrapping | None) -> "Asked":
        """Return the same without the instruction around the question."""
        bare = self.text if wrapping is None else wrapping.cut(self.text)
        if bare == self.text:
            return self
        last: Message = {"role": "user", "content": bare}
        return Asked(bare, None if self.chat is None else (*self.chat[: _before_question(self.chat)], last))

    @property
    def problem(self) -> str:
        """The problem as one text: the question after earlier turns, without the system message."""
        turns = [message for message in self.chat or () if message["role"] != "system"]
        return _one_text(turns) if any(message["role"] == "assistant" for message in turns) else self.text.strip()

    @property
    def key(self) -> str:
        """The problem and the system messages; equal keys mean repeated problems."""
        system = [message for message in self.chat or () if message["role"] == "system"]
        return self.problem + (_one_text(system) if system else "")


@dataclass(frozen=True)
class QuestionColumn:
    """The column of the question: a text, or a chat, which is a list of {role, content} that ends with the question.

    A chat may hold system messages, and earlier questions with their answers.
    """

    column: Column
    format: QuestionFormat
    format_option: str  # the option that sets the format: "data.question_format"

    def read(self, row: Row, where: str) -> Asked:
        """Return the question, empty where there is none; raises ValueError where it has another format."""
        value = self.column.of(row, where)
        if value is None:
            return Asked("")
        return self._chat(value, where) if self.format == "chat" else Asked(self._text(value, where))

    def _text(self, value: object, where: str) -> str:
        if isinstance(value, str):
            return value
        chat = isinstance(value, list) and all(isinstance(message, dict) for message in value)
        raise self._wrong(value, where, "text", f"{self.format_option}=chat reads a chat" if chat else "")

    def _chat(self, value: object, where: str) -> Asked:
        other = f"{self.format_option}=text reads text" if isinstance(value, str) else ""
        if not isinstance(value, list):
            raise self._wrong(value, where, "a chat, a list of {role, content}", other)
        chat: list[Message] = []
        for message in value:
            match message:
                case {"role": str(role), "content": str()} if role in ROLES:
                    chat.append({key: part for key, part in message.items() if part is not None})
                case _:
                    expected = "messages of system, user or assistant, {role, content} with a text for content"
                    raise self._wrong(message, where, expected, "")
        roles = [message["role"] for message in chat]
        if "assistant" in roles[-1:] or ("user" in roles and roles[-1] != "user"):
            raise self._wrong(
                chat[-1],
                where,
                "messages of the user or the system, and answers only before the user's last question",
                "cut off what follows that question: the policy must answer it",
            )
        text = "\n\n".join(str(message["content"]) for message in chat[_before_question(chat) :])
        alone = not chat or chat == [{"role": "user", "content": text}]
        return Asked(text, None if alone else tuple(chat))

    def _wrong(self, value: object, where: str, expected: str, remedy: str) -> ValueError:
        choose = remedy or f"choose another by {self.column.option}=COLUMN"
        return ValueError(f"{where}: column {self.column.path!r} must hold {expected}, found {shown(value)}; {choose}")


def _before_question(chat: Sequence[Message]) -> int:
    """Return the number of messages before the user's last turn."""
    others = [place for place, message in enumerate(chat) if message["role"] != "user"]
    return others[-1] + 1 if others else 0


def _one_text(messages: Sequence[Message]) -> str:
    return json.dumps([[message["role"], str(message["content"]).strip()] for message in messages])
