"""Tokenization of prompts: one beginning-of-text token, and nothing after the template's end."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

PROBES = ("1", "a", "What is 1 + 1?")  # texts that show what a tokenizer adds


@dataclass(frozen=True)
class PromptTokens:
    """The tokenizer of prompts.

    special: whether to put the tokenizer's beginning-of-text tokens before a text that does not begin with them; a chat
    template writes them itself. Tokens that the tokenizer appends to a text are left out: the response follows.
    vocabulary: the model's number of tokens; None: unknown.
    """

    tokenizer: PreTrainedTokenizerBase
    special: bool
    vocabulary: int | None = None

    def of(self, texts: Sequence[str], places: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text.

        places: the origins of the texts, for messages. Raises ValueError where a text has no tokens, or one that is not
        in the model's vocabulary.
        """
        written = self._written(texts) if texts else []
        return [self._begun(*one) for one in zip(written, texts, places, strict=True)]

    def _begun(self, ids: list[int], text: str, where: str) -> list[int]:
        if not ids:
            raise ValueError(
                f"{where}: the prompt {text[:60]!r} has no tokens; fix or delete the row, or choose another "
                "data.template"
            )
        before = self._before if self.special else []
        whole = ids if ids[0] in before else [*before, *ids]  # a template may write its own beginning
        self._check_known(max(whole), where)
        return whole

    @cached_property
    def _before(self) -> list[int]:
        """Return the tokens that the tokenizer puts before a text; log those that it appends."""
        for probe in PROBES:
            ((alone,), (whole,)) = self._written([probe]), self.tokenizer([probe], add_special_tokens=True)["input_ids"]
            for begin in range(len(whole) - len(alone) + 1) if alone else ():
                end = begin + len(alone)
                if list(whole[begin:end]) == alone:
                    self._say_appended(list(whole[end:]))
                    return list(whole[:begin])
        return []

    def _written(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of the texts themselves."""
        return [list(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def _say_appended(self, ids: list[int]) -> None:
        if ids:
            log.info(
                "the tokenizer %s appends %s to every text; prompts end without it, where data.template ends",
                *(self.tokenizer.name_or_path, " ".join(map(str, self.tokenizer.convert_ids_to_tokens(ids)))),
            )

    def _check_known(self, most: int, where: str) -> None:
        if self.vocabulary is not None and most >= self.vocabulary:
            raise ValueError(
                f"{where}: the prompt holds the token {self.tokenizer.convert_ids_to_tokens(most)!r} of the tokenizer "
                f"{self.tokenizer.name_or_path}, number {most}, and the model has {self.vocabulary} tokens (vocab_size "
                "in its config.json): give the model its own tokenizer, or a data.template without this token"
            )
