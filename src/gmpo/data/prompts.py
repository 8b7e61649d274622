"""From problems to prompts: template, tokens, and what becomes of those that are too long."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from transformers import PreTrainedTokenizerBase

from gmpo.data.arithmetic import Split
from gmpo.data.selection import Question
from gmpo.data.sources import Source
from gmpo.data.templates import CHAT, check_template, render
from gmpo.types import Prompt

log = logging.getLogger(__name__)

OverLong = Literal["drop", "error", "truncate"]


@dataclass(frozen=True)
class PromptMaker:
    """Templates and tokenises the problems of a source.

    template: as `gmpo.data.templates`. over_long: what happens to prompts of more than max_prompt_tokens; truncate cuts
    them off on the left.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str
    max_prompt_tokens: int
    over_long: OverLong

    def __post_init__(self) -> None:
        if self.over_long not in get_args(OverLong):
            raise ValueError(f"data.over_long={self.over_long} must be {' or '.join(get_args(OverLong))}")
        check_template(self.template, self.tokenizer)

    def prompts(self, source: Source, split: Split, limit: int | None = None) -> list[Prompt]:
        """Of each name among the questions the first `limit`; raises ValueError where nothing usable is left."""
        questions = list(_first(source.questions(split), limit))
        texts = [render(question.text, self.template, self.tokenizer) for question in questions]
        special = self.template != CHAT  # a chat template writes them itself
        ids = self.tokenizer(texts, add_special_tokens=special)["input_ids"] if texts else []
        prompts = [
            Prompt(index, question.text, text, list(token_ids), question.answer, question.source)
            for index, (question, text, token_ids) in enumerate(zip(questions, texts, ids, strict=True))
        ]
        return self._within_length(prompts, f"{source.name}, {split}")

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
        if self.over_long == "truncate":
            log.info("%s and are cut off on the left", facts)
            return [self._cut(prompt) for prompt in prompts]
        if not within:
            raise ValueError(f"{facts}: none is left; raise data.max_prompt_tokens")
        if self.over_long == "error":
            raise ValueError(f"{facts}; raise data.max_prompt_tokens, or drop them by data.over_long=drop")
        log.info("%s and are dropped", facts)
        return within

    def _cut(self, prompt: Prompt) -> Prompt:
        if len(prompt.token_ids) <= self.max_prompt_tokens:
            return prompt
        kept = prompt.token_ids[-self.max_prompt_tokens :]
        return replace(prompt, token_ids=kept, text=self.tokenizer.decode(kept))


def _first(questions: Sequence[Question], limit: int | None) -> Iterator[Question]:
    """The first so many of each name."""
    taken: Counter[str] = Counter()
    for question in questions:
        taken[question.source] += 1
        if limit is None or taken[question.source] <= limit:
            yield question
