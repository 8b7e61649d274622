"""Conversion of problems to prompts: template, tokens, and the treatment of long prompts."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

from transformers import PreTrainedTokenizerBase

from gmpo.data.arithmetic import Split
from gmpo.data.dataset import Dataset
from gmpo.data.selection import Message, Question
from gmpo.data.templates import CHAT, check_template, render
from gmpo.data.tokens import PromptTokens
from gmpo.types import Prompt

log = logging.getLogger(__name__)

OverLong = Literal["drop", "error", "truncate"]


@dataclass(frozen=True)
class PromptMaker:
    """Templates and tokenizes the problems of a data set.

    template: see `gmpo.data.templates`. long_prompts: what to do with prompts of more than max_prompt_tokens; truncate
    cuts them on the left. system: a system message that replaces the rows' own; "" removes those, None keeps them.
    suffix: text after each question, verbatim. chat_template_arguments: of the tokenizer's chat template. vocabulary:
    the model's number of tokens; None: unknown.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str
    max_prompt_tokens: int
    long_prompts: OverLong
    system: str | None = None
    suffix: str | None = None
    chat_template_arguments: Mapping[str, object] | None = None
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        if self.long_prompts not in get_args(OverLong):
            raise ValueError(f"data.long_prompts={self.long_prompts} must be {' or '.join(get_args(OverLong))}")
        for option, value in (("system", self.system), ("suffix", self.suffix)):
            if value is not None and not isinstance(value, str):
                raise ValueError(f"data.{option}={value} must be a text: write data.{option}='\"{value}\"'")
        arguments = self.chat_template_arguments
        if arguments is not None and not isinstance(arguments, Mapping):
            raise ValueError(
                f"data.chat_template_arguments={arguments} must hold names and values, such as "
                "{enable_thinking: false}"
            )
        check_template(self.template, self.tokenizer, self.system, arguments)
        if self.suffix and not self.suffix[0].isspace():
            log.warning(
                "data.suffix=%r follows each question without a space; begin it with one, in quotes: "
                "'data.suffix=\" %s\"'",
                *(self.suffix, self.suffix),
            )

    def prompts(self, dataset: Dataset, split: Split, limit: int | None = None) -> list[Prompt]:
        """Return the first `limit` prompts of each benchmark name; raises ValueError where none is usable."""
        return self.of(first_of_each(dataset.questions(split), limit), f"{dataset.name}, {split}")

    def of(self, questions: Sequence[Question], label: str) -> list[Prompt]:
        """Return the prompts of these questions; raises ValueError where none is usable."""
        places = [question.where or f"{label}, question {index}" for index, question in enumerate(questions)]
        self._say_what_is_replaced(questions, label)
        texts = [self._render(question, where) for question, where in zip(questions, places, strict=True)]
        prompts = [
            Prompt(index, question.text, text, token_ids, question.answer, question.benchmark_name)
            for index, (question, text, token_ids) in enumerate(
                zip(questions, texts, self._tokens.of(texts, places), strict=True)
            )
        ]
        return self._within_length(prompts, label)

    @cached_property
    def _tokens(self) -> PromptTokens:
        return PromptTokens(self.tokenizer, special=self.template != CHAT, vocabulary=self.vocabulary)

    def _render(self, question: Question, where: str) -> str:
        try:
            return render(self._messages(question), self.template, self.tokenizer, self.chat_template_arguments)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def _messages(self, question: Question) -> list[Message]:
        """Return the chat for the template."""
        alone: Message = {"role": "user", "content": question.text}
        messages = [*(question.chat or (alone,))]
        if self.system is not None:
            messages = [message for message in messages if message["role"] != "system"]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        if self.suffix:
            messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']}{self.suffix}"}
        return messages

    def _say_what_is_replaced(self, questions: Sequence[Question], label: str) -> None:
        own = sum(any(message["role"] == "system" for message in question.chat or ()) for question in questions)
        if self.system is not None and own:
            done = "replaced by data.system" if self.system else "left out (data.system='')"
            log.info("%s: the system messages of %d of %d questions are %s", label, own, len(questions), done)

    def _within_length(self, prompts: list[Prompt], label: str) -> list[Prompt]:
        most = self.max_prompt_tokens
        within = [p for p in prompts if len(p.token_ids) <= most]
        longer = len(prompts) - len(within)
        longest = max((len(p.token_ids) for p in prompts), default=0)
        facts = (
            f"{label}: {longer} of {len(prompts)} prompts are longer than "
            f"data.max_prompt_tokens={most} (the longest has {longest})"
        )
        if not prompts:
            raise ValueError(f"{label}: the data set holds no problem; give one that does")
        if not longer:
            return prompts
        if self.long_prompts == "truncate":
            log.info("%s and are cut off on the left", facts)
            return [self._cut(prompt) for prompt in prompts]
        if not within:
            raise ValueError(f"{facts}: none is left; raise data.max_prompt_tokens")
        if self.long_prompts == "error":
            raise ValueError(f"{facts}; raise data.max_prompt_tokens, or drop them by data.long_prompts=drop")
        log.info("%s and are dropped", facts)
        return within

    def _cut(self, prompt: Prompt) -> Prompt:
        if len(prompt.token_ids) <= self.max_prompt_tokens:
            return prompt
        kept = prompt.token_ids[-self.max_prompt_tokens :]
        return replace(prompt, token_ids=kept, text=self.tokenizer.decode(kept))


def first_of_each(questions: Iterable[Question], limit: int | None) -> list[Question]:
    """Return the first `limit` questions of each benchmark name."""
    return list(_first(questions, limit))


def _first(questions: Iterable[Question], limit: int | None) -> Iterator[Question]:
    taken: Counter[str] = Counter()
    for question in questions:
        taken[question.benchmark_name] += 1
        if limit is None or taken[question.benchmark_name] <= limit:
            yield question
