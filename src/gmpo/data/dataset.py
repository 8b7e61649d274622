"""Data sets generated from a seed or combined from others; files and the hub are in `gmpo.data.problem_dataset`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gmpo.data.arithmetic import Split, make_distinct_problems
from gmpo.data.selection import Question

log = logging.getLogger(__name__)


class Dataset(Protocol):
    """A data set with a training and a validation split."""

    @property
    def name(self) -> str:
        """Name of the validation metrics: val/NAME/mean@k."""
        ...

    def questions(self, split: Split) -> list[Question]:
        """Return all problems of a split, in a fixed order."""
        ...


@dataclass(frozen=True)
class ArithmeticDataset:
    """Arithmetic from a seed, each problem once; see `gmpo.data.arithmetic.make_distinct_problems`."""

    kinds: Sequence[str]
    train_size: int
    validation_size: int
    seed: int = 0
    name: str = "arithmetic"

    def __post_init__(self) -> None:
        if isinstance(self.kinds, str) or not isinstance(self.kinds, Sequence):
            raise ValueError(f"data.kinds={self.kinds} must be a list of kinds of problems, such as [3+3,2-1]")

    def questions(self, split: Split) -> list[Question]:
        """Return the problems of a split; the two splits share none by construction."""
        size = self.train_size if split == "train" else self.validation_size
        problems = make_distinct_problems(list(self.kinds), size, split, self.seed)
        if len(problems) < size:
            log.info(
                "%s, %s: there are %d different problems of the kinds %s, not %d",
                *(self.name, split, len(problems), ", ".join(self.kinds), size),
            )
        return [Question(problem.question, problem.answer, self.name) for problem in problems]


@dataclass(frozen=True)
class MixedDataset:
    """Several data sets as one; each question keeps its data set's name, also for validation metrics."""

    datasets: Mapping[str, Dataset]
    name: str

    def __post_init__(self) -> None:
        check_names(self.datasets, self.name)

    def questions(self, split: Split) -> list[Question]:
        """Return the problems of one data set after the other."""
        return [question for dataset in self.datasets.values() for question in dataset.questions(split)]


def check_names(datasets: Mapping[str, Dataset], where: str) -> None:
    """Raise ValueError where there is no data set, or where two share a name and thus their metrics."""
    names = [dataset.name for dataset in datasets.values()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names:
        raise ValueError(f"{where} holds no data set: name at least one")
    if repeated:
        raise ValueError(f"{where} holds several data sets of the name {', '.join(repeated)}: give each its own name")
