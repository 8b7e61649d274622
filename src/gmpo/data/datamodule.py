"""The LightningDataModule that yields the prompts of each rollout step."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerBase

from gmpo.data.dataset import Dataset, check_names
from gmpo.data.prompts import OverLong, PromptMaker, first_of_each
from gmpo.data.selection import Question
from gmpo.data.stream import PromptStream
from gmpo.types import Prompt, PromptBatch

log = logging.getLogger(__name__)


class MathDataModule(LightningDataModule):
    """Templates and tokenizes the problems of a data set once, and yields the same `PromptBatch`es on every rank.

    prompts_per_step: P, the prompts of a training batch. steps: training batches; the data set is repeated in another
    order as often as necessary. benchmarks: validate on the problems of all of these, each under its name, instead of
    on the data set's own. validation_limit: validate on the first problems of each name only. validate: whether
    validation problems are read at all. The other arguments (template to vocabulary): see `PromptMaker`.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        template: str,
        max_prompt_tokens: int,
        long_prompts: OverLong,
        prompts_per_step: int,
        steps: int,
        seed: int,
        validation_limit: int | None = None,
        validation_batch: int = 256,
        benchmarks: Mapping[str, Dataset] | None = None,
        validate: bool = True,
        system: str | None = None,
        suffix: str | None = None,
        chat_template_arguments: Mapping[str, object] | None = None,
        vocabulary: int | None = None,
    ) -> None:
        super().__init__()
        if benchmarks:
            check_names(benchmarks, "benchmark")
        self.dataset = dataset
        self.benchmarks = benchmarks
        self.validate = validate
        self.maker = PromptMaker(
            *(tokenizer, template, max_prompt_tokens, long_prompts),
            *(system, suffix, chat_template_arguments, vocabulary),
        )
        self.prompts_per_step = prompts_per_step
        self.steps = steps
        self.seed = seed
        self.validation_limit = validation_limit
        self.validation_batch = validation_batch
        self.stream: PromptStream | None = None
        self.completed = {"steps": 0, "position": 0}  # trained steps, and the prompts that they took
        self.validation_prompts: list[Prompt] = []

    def setup(self, stage: str | None = None) -> None:
        """Read, template and tokenize both splits; raises ValueError where no usable problem is left."""
        if self.stream is None:
            questions = self.dataset.questions("train")
            self.stream = PromptStream(self.maker.of(questions, f"{self.dataset.name}, train"), self.seed)
            if self.validate:
                self.validation_prompts = self._validation_prompts({_problem(question) for question in questions})

    def draw(self, count: int) -> list[Prompt]:
        """Return the next prompts of the stream after the batch, for a refill."""
        assert self.stream is not None, "setup() comes first"
        return self.stream.draw(count)

    def peek(self) -> list[Prompt]:
        """Return the prompts of the next batch, provided that nothing else is drawn before it."""
        assert self.stream is not None, "setup() comes first"
        return self.stream.peek(self.prompts_per_step)

    def complete_step(self) -> None:
        """Mark all prompts drawn so far as trained: a resumed run continues after them."""
        assert self.stream is not None, "setup() comes first"
        self.completed = {"steps": self.completed["steps"] + 1, "position": self.stream.position}

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the stream of prompts after the last completed step."""
        return dict(self.completed)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore that position."""
        assert self.stream is not None, "setup() comes first"
        self.completed = dict(state_dict)
        self.stream.position = self.completed["position"]

    def train_dataloader(self) -> DataLoader:
        """Return batches of `prompts_per_step` prompts for the remaining steps."""
        assert self.stream is not None, "setup() comes first"
        return _loader(_TrainBatches(self.stream, self.prompts_per_step, self.steps - self.completed["steps"]))

    def val_dataloader(self) -> DataLoader:
        """Return every validation prompt once, in order."""
        return _loader(_ValidationBatches(self.validation_prompts, self.validation_batch))

    def _validation_prompts(self, trained_on: set[str]) -> list[Prompt]:
        prompts: list[Prompt] = []
        for dataset in self.benchmarks.values() if self.benchmarks else [self.dataset]:
            questions = first_of_each(dataset.questions("validation"), self.validation_limit)
            _say_overlap(questions, trained_on)
            prompts += self.maker.of(questions, f"{dataset.name}, validation")
        return prompts


def _say_overlap(questions: Sequence[Question], trained_on: set[str]) -> None:
    """Log how many validation problems are also training problems, ignoring the instructions around them."""
    total = Counter(question.benchmark_name for question in questions)
    shared = [question for question in questions if _problem(question) in trained_on]
    for name, count in Counter(question.benchmark_name for question in shared).items():
        first = next(question for question in shared if question.benchmark_name == name)
        log.warning(
            "%s, validation: %d of %d problems are training problems as well (the first: %s)",
            *(name, count, total[name], first.where or repr(first.text[:60])),
        )


def _problem(question: Question) -> str:
    return question.text.strip() if question.problem is None else question.problem


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
