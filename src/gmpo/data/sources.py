"""Where problems come from: made from a seed, from the hub, or from a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gmpo.data.arithmetic import Split, make_problems
from gmpo.data.files import read_rows

GSM8K_COLUMNS = ("question", "answer")


@dataclass(frozen=True)
class Question:
    """A problem as its data set has it, before the template."""

    text: str
    answer: str


class Source(Protocol):
    """A data set with a training and a validation split."""

    name: str  # names the validation metrics: val/NAME/mean@k

    def questions(self, split: Split) -> list[Question]:
        """All problems of a split, in a fixed order."""
        ...


@dataclass(frozen=True)
class ArithmeticSource:
    """Arithmetic made from a seed; see `gmpo.data.arithmetic.make_problems`."""

    kinds: Sequence[str]
    train_size: int
    validation_size: int
    seed: int = 0
    name: str = "arithmetic"

    def questions(self, split: Split) -> list[Question]:
        """As `Source`; the two splits share no problem by construction."""
        size = self.train_size if split == "train" else self.validation_size
        return [Question(p.question, p.answer) for p in make_problems(list(self.kinds), size, split, self.seed)]


@dataclass(frozen=True)
class GSM8KSource:
    """GSM8K (arXiv:2110.14168): columns question and answer, the result after `####`.

    From the hub, or from local JSON Lines files: `path` is the training file; the validation file is
    `validation_path`, or else test.jsonl or validation.jsonl beside it.
    """

    hub_id: str = "openai/gsm8k"
    hub_config: str = "main"
    path: str | None = None
    validation_path: str | None = None
    name: str = "gsm8k"

    def questions(self, split: Split) -> list[Question]:
        """As `Source`. Raises ValueError naming file, row and remedy where a row cannot be used."""
        return [self._parse(row, where) for row, where in self._rows(split)]

    def _rows(self, split: Split) -> Iterator[tuple[dict[str, object], str]]:
        if self.path is None:
            yield from self._hub_rows(split)
        else:
            path = Path(self.path) if split == "train" else self._validation_file(Path(self.path))
            yield from read_rows(path, GSM8K_COLUMNS)

    def _hub_rows(self, split: Split) -> Iterator[tuple[dict[str, object], str]]:
        from datasets import load_dataset

        hub_split = "train" if split == "train" else "test"
        try:
            rows = load_dataset(self.hub_id, self.hub_config, split=hub_split)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"data set {self.hub_id!r} (config {self.hub_config!r}) cannot be loaded from the hub: {error}. "
                "Without a network, give local files: data.path=TRAIN.jsonl data.validation_path=TEST.jsonl"
            ) from error
        for number, row in enumerate(rows):
            yield row, f"{self.hub_id}, split {hub_split}, row {number}"

    def _validation_file(self, train: Path) -> Path:
        if self.validation_path is not None:
            return Path(self.validation_path)
        beside = [train.with_name("test.jsonl"), train.with_name("validation.jsonl")]
        found = [path for path in beside if path.is_file()]
        if not found:
            raise ValueError(
                f"no validation file for data.path={self.path}: {' and '.join(map(str, beside))} do not exist. "
                "Give it by data.validation_path=FILE"
            )
        return found[0]

    def _parse(self, row: dict[str, object], where: str) -> Question:
        question, solution = (row[column] for column in GSM8K_COLUMNS)
        if not isinstance(question, str) or not isinstance(solution, str):
            kinds = f"{type(question).__name__} and {type(solution).__name__}"
            raise ValueError(f"{where}: columns question and answer must be text, found {kinds}")
        _, marker, answer = solution.rpartition("####")
        if not marker or not answer.strip():
            raise ValueError(
                f"{where}: the answer column must end with '#### RESULT', found {solution[-60:]!r}; "
                "mend the row or choose another data group"
            )
        return Question(question, answer.strip().replace(",", ""))
