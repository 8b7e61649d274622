"""Data sets of mathematics from the hub, or from local files and folders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from gmpo.data.answers import AnswerColumn, Result
from gmpo.data.arithmetic import Split
from gmpo.data.columns import Column, Located, cell_text
from gmpo.data.files import read_file
from gmpo.data.folders import folder_splits, read_folder
from gmpo.data.hub import read_hub
from gmpo.data.questions import QuestionColumn, QuestionFormat, Wrapping
from gmpo.data.rows import RowReader
from gmpo.data.selection import Found, Question, distinct, hold_out, without_conflicts

Instruction = Literal["keep", "replace"]
EmptyAnswers = Literal["drop", "error"]
Duplicates = Literal["drop", "keep", "drop_conflicting"]
CHOICES = {
    "question_format": get_args(QuestionFormat),
    "result": get_args(Result),
    "instruction": get_args(Instruction),
    "empty_answers": get_args(EmptyAnswers),
    "duplicates": get_args(Duplicates),
}
BESIDE = ("test", "validation")  # names of a validation file beside the training file


class Place(NamedTuple):
    """The place that the rows of a split are read from."""

    path: Path | None  # a file or a folder; None: on the hub
    split: str  # of a folder that has splits, or of the hub
    option: str  # the option that gave the path


@dataclass(frozen=True)
class ProblemDataset:
    """A data set with a column for the question and one for the answer.

    From the hub, unless `path` names a local file (JSON Lines, JSON, CSV, Parquet) or folder. The validation problems
    are the first of these that exists: `validation_path`; a file test or validation of the same type beside a training
    file, or `validation_split` of a folder or of the hub; `held_out` problems of the training data.
    """

    name: str
    hub_id: str | None = None
    hub_config: str | None = None
    train_split: str | None = "train"  # None: for evaluation only, on the problems of `path`
    validation_split: str | None = "test"  # None: none
    path: str | None = None
    validation_path: str | None = None
    question: str = "problem"  # columns; a dotted path reaches into one, see `gmpo.data.columns.Column`
    answer: str = "answer"
    level: str = "level"
    question_format: QuestionFormat = "text"
    result: Result = "whole"
    levels: Sequence[int] | None = None  # only these levels; None: all
    leave_out: Mapping[str, object] | None = None  # rows by a column's value, or values: {"answer": ["proof"]}
    unwrap: Wrapping | None = None  # the instruction around every question, if the data set has one
    instruction: Instruction = "keep"  # replace: cut it off, since the template brings its own
    empty_answers: EmptyAnswers = "error"
    duplicates: Duplicates = "drop"
    held_out: int = 0
    node: str = "data"  # the part of the config that has these options

    def __post_init__(self) -> None:
        for option, choices in CHOICES.items():
            if self.__dict__[option] not in choices:
                raise ValueError(f"{self.node}.{option}={self.__dict__[option]} must be {' or '.join(choices)}")
        if self.path is None and self.hub_id is None:
            raise ValueError(f"{self.name}: no data; give {self.node}.path=FILE or {self.node}.hub_id=ID")
        if type(self.held_out) is not int or self.held_out < 0:
            raise ValueError(f"{self.node}.held_out={self.held_out} must be a whole number of at least 0")
        if self.levels is not None and not _whole_numbers(self.levels):
            raise ValueError(f"{self.node}.levels={self.levels} must be a list such as [3,4,5], or null for all")
        if self.leave_out is not None and not isinstance(self.leave_out, Mapping):
            raise ValueError(
                f"{self.node}.leave_out={self.leave_out} must name a column and values, such as "
                "{answer: [proof, notfound]}, or be null"
            )
        if self.instruction == "replace" and self.unwrap is None:
            raise ValueError(
                f"{self.node}.instruction=replace, but the text that {self.name} puts around a question is unknown: "
                f"set {self.node}.unwrap, or choose {self.node}.instruction=keep"
            )

    def questions(self, split: Split) -> list[Question]:
        """Return the problems of a split; raises ValueError, with file, row and remedy, for a row that is unusable."""
        if split == "train" and self.train_split is None:
            raise ValueError(f"{self.name} is for evaluation only: train on another data set")
        validation = self._validation_place()
        if validation is None and self.held_out:
            return self._parts[split]
        if split == "validation" and validation is None:
            raise ValueError(
                f"{self.name} has no validation problems ({self._looked_for()}): give some by "
                f"{self.node}.validation_path=FILE, keep some of training by {self.node}.held_out=NUMBER, or validate "
                "on others by benchmark=NAME"
            )
        place = validation if split == "validation" and validation is not None else self._train_place()
        return [found.question for found in self._found(place, split)]

    @cached_property
    def _parts(self) -> dict[Split, list[Question]]:
        """Both splits, from the training data, which is read once."""
        found = self._found(self._train_place(), "train")
        training, validation = hold_out(found, self.held_out, self.name, f"{self.node}.held_out")
        return {"train": training, "validation": validation}

    def _found(self, place: Place, split: Split) -> Iterator[Found]:
        label = f"{self.name}, {split}"
        found = self._reader.read(self._rows(place), label)
        if self.duplicates == "drop_conflicting":
            return without_conflicts(found, label, f"{self.node}.duplicates")
        return distinct(found, label) if self.duplicates == "drop" else found

    def _rows(self, place: Place) -> Iterator[Located]:
        path, columns = place.path, self._reader.columns
        if path is None:
            assert self.hub_id is not None, "the constructor requires path or hub_id"
            return read_hub(self.hub_id, self.hub_config, place.split, columns, self.node)
        if not path.exists():
            raise ValueError(
                f"data file {path} does not exist (looked in {Path.cwd()}); give it by {place.option}=FILE"
            )
        if path.is_dir():
            return read_folder(path, self.hub_config, place.split, columns, self.node)
        return read_file(path, columns)

    @property
    def _reader(self) -> RowReader:
        question, answer, level = (
            Column(path, f"{self.node}.{option}")
            for option, path in (("question", self.question), ("answer", self.answer), ("level", self.level))
        )
        return RowReader(
            self.name,
            QuestionColumn(question, self.question_format, f"{self.node}.question_format"),
            AnswerColumn(answer, self.result),
            level,
            None if self.levels is None else [*self.levels],
            self.unwrap,
            cut_wrapping=self.instruction == "replace",
            drop_empty=f"{self.node}.empty_answers=drop" if self.empty_answers == "error" else None,
            leave_out={
                Column(path, f"{self.node}.leave_out", "{COLUMN: VALUES}"): _texts(values)
                for path, values in (self.leave_out or {}).items()
            },
        )

    def _train_place(self) -> Place:
        return Place(None if self.path is None else _path(self.path), self.train_split or "", f"{self.node}.path")

    def _validation_place(self) -> Place | None:
        split = self.validation_split
        if self.validation_path is not None:
            return Place(_path(self.validation_path), split or BESIDE[0], f"{self.node}.validation_path")
        if split is None:
            return None
        same = self._train_place()._replace(split=split)
        if same.path is None or self.train_split is None:
            return same
        if same.path.is_dir():
            return same if split in folder_splits(same.path, self.hub_config) else None
        return next((same._replace(path=path) for path in _beside(same.path) if path.is_file()), None)

    def _looked_for(self) -> str:
        if self.validation_split is None:
            return f"{self.node}.validation_split is null"
        path = None if self.path is None else _path(self.path)
        if path is None or path.is_dir():
            others = [] if path is None else folder_splits(path, self.hub_config)
            named = f", only {', '.join(others)}: name one by {self.node}.validation_split" if others else ""
            return f"no split {self.validation_split}{named}"
        return f"{' and '.join(map(str, _beside(path)))} do not exist"


def _beside(path: Path) -> list[Path]:
    return [beside for name in BESIDE if (beside := path.with_name(f"{name}{path.suffix}")) != path]


def _path(path: str) -> Path:
    """Return the path with ~ expanded, which no shell does after KEY=."""
    try:
        return Path(str(path)).expanduser()
    except RuntimeError:  # no such user: the path is reported as missing
        return Path(str(path))


def _texts(values: object) -> list[str]:
    several = values if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    return [cell_text(value) for value in several]


def _whole_numbers(levels: object) -> bool:
    return isinstance(levels, Sequence) and len(levels) > 0 and all(type(level) is int for level in levels)
