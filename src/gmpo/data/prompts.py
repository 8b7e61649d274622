"""From problems to prompts: template, tokens, and what becomes of those that are too long."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from gmpo.data.arithmetic import Split
from gmpo.data.selection import Question
from gmpo.data.sources import Source
from gmpo.data.templates import CHAT, check_template, render
from gmpo.types import Prompt

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PromptMaker:
    """Templates and tokenises the problems of a source.

    template: as `gmpo.data.templates`. over_long: what happens to prompts of more than max_prompt_tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str
    max_prompt_tokens: int
    over_long: Literal["drop", "error"]

    def __post_init__(self) -> None:
        if self.over_long not in ("drop", "error"):
            raise ValueError(f"data.over_long={self.over_long} must be drop or error")
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
        kept = [p for p in prompts if len(p.token_ids) <= self.max_prompt_tokens]
        dropped = len(prompts) - len(kept)
        longest = max((len(p.token_ids) for p in prompts), default=0)
        facts = (
            f"{label}: {dropped} of {len(prompts)} prompts are longer than "
            f"data.max_prompt_tokens={self.max_prompt_tokens} (the longest has {longest})"
        )
        if not prompts:
            raise ValueError(f"{label}: the data set holds no problem; give one that does")
        if not kept:
            raise ValueError(f"{facts}: none is left; raise data.max_prompt_tokens")
        if dropped and self.over_long == "error":
            raise ValueError(f"{facts}; raise data.max_prompt_tokens, or drop them by data.over_long=drop")
        if dropped:
            log.info("%s and are dropped", facts)
        return kept


def _first(questions: Sequence[Question], limit: int | None) -> Iterator[Question]:
    """The first so many of each name."""
    taken: Counter[str] = Counter()
    for question in questions:
        taken[question.source] += 1
        if limit is None or taken[question.source] <= limit:
            yield question
