"""The LightningDataModule that yields the prompts of each rollout step."""

import logging
from collections.abc import Iterator
from typing import Literal

from lightning import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerBase

from gmpo.data.arithmetic import Split
from gmpo.data.sources import Source
from gmpo.data.stream import PromptStream
from gmpo.data.templates import CHAT, check_template, render
from gmpo.types import Prompt, PromptBatch

log = logging.getLogger(__name__)


class MathDataModule(LightningDataModule):
    """Templates and tokenises the problems of a source once, and yields `PromptBatch`es.

    prompts_per_step: P, the prompts of a training batch. steps: training batches, whatever the size of the
    data set: it is gone through again in another order. validation_limit: validate on the first so many
    problems. over_long: what happens to prompts of more than max_prompt_tokens.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: PreTrainedTokenizerBase,
        template: str,
        max_prompt_tokens: int,
        over_long: Literal["drop", "error"],
        prompts_per_step: int,
        steps: int,
        seed: int,
        validation_limit: int | None = None,
        validation_batch: int = 256,
    ) -> None:
        super().__init__()
        if over_long not in ("drop", "error"):
            raise ValueError(f"data.over_long={over_long} must be drop or error")
        check_template(template, tokenizer)
        self.source = source
        self.tokenizer = tokenizer
        self.template = template
        self.max_prompt_tokens = max_prompt_tokens
        self.over_long = over_long
        self.prompts_per_step = prompts_per_step
        self.steps = steps
        self.seed = seed
        self.validation_limit = validation_limit
        self.validation_batch = validation_batch
        self.stream: PromptStream | None = None
        self.validation_prompts: list[Prompt] = []

    def setup(self, stage: str | None = None) -> None:
        """Read, template and tokenise both splits; raises ValueError where nothing usable is left."""
        if self.stream is None:
            self.stream = PromptStream(self._prompts("train", None), self.seed)
            self.validation_prompts = self._prompts("validation", self.validation_limit)

    def draw(self, count: int) -> list[Prompt]:
        """The next prompts of the same stream, beyond the batch: for a refill."""
        assert self.stream is not None, "setup() comes first"
        return self.stream.draw(count)

    def train_dataloader(self) -> DataLoader:
        """Batches of `prompts_per_step` prompts, `steps` of them."""
        assert self.stream is not None, "setup() comes first"
        return _loader(_TrainBatches(self.stream, self.prompts_per_step, self.steps))

    def val_dataloader(self) -> DataLoader:
        """Every validation prompt once, in order."""
        return _loader(_ValidationBatches(self.validation_prompts, self.validation_batch))

    def _prompts(self, split: Split, limit: int | None) -> list[Prompt]:
        questions = self.source.questions(split)[:limit]
        texts = [render(q.text, self.template, self.tokenizer) for q in questions]
        special = self.template != CHAT  # a chat template writes them itself
        ids = self.tokenizer(texts, add_special_tokens=special)["input_ids"] if texts else []
        prompts = [
            Prompt(index, question.text, text, list(token_ids), question.answer, self.source.name)
            for index, (question, text, token_ids) in enumerate(zip(questions, texts, ids, strict=True))
        ]
        return self._within_length(prompts, split)

    def _within_length(self, prompts: list[Prompt], split: Split) -> list[Prompt]:
        kept = [p for p in prompts if len(p.token_ids) <= self.max_prompt_tokens]
        dropped = len(prompts) - len(kept)
        longest = max((len(p.token_ids) for p in prompts), default=0)
        facts = (
            f"{self.source.name}, {split}: {dropped} of {len(prompts)} prompts are longer than "
            f"data.max_prompt_tokens={self.max_prompt_tokens} (the longest has {longest})"
        )
        if not prompts:
            raise ValueError(f"{self.source.name}, {split}: the data set holds no problem; give one that does")
        if not kept:
            raise ValueError(f"{facts}: none is left; raise data.max_prompt_tokens")
        if dropped and self.over_long == "error":
            raise ValueError(f"{facts}; raise data.max_prompt_tokens, or drop them by data.over_long=drop")
        if dropped:
            log.info("%s and are dropped", facts)
        return kept


def _loader(batches: IterableDataset) -> DataLoader:
    return DataLoader(batches, batch_size=None)


class _TrainBatches(IterableDataset):
    def __init__(self, stream: PromptStream, prompts_per_step: int, steps: int) -> None:
        self.stream = stream
        self.prompts_per_step = prompts_per_step
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[PromptBatch]:
        for _ in range(self.steps):
            yield PromptBatch(self.stream.draw(self.prompts_per_step))


class _ValidationBatches(IterableDataset):
    def __init__(self, prompts: list[Prompt], size: int) -> None:
        self.prompts = prompts
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.prompts) // self.size)

    def __iter__(self) -> Iterator[PromptBatch]:
        for start in range(0, len(self.prompts), self.size):
            yield PromptBatch(self.prompts[start : start + self.size])
