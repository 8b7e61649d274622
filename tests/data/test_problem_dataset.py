"""Which problems are used for what: splits, repeated problems, held-out problems, the hub."""

import json
import random
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from gmpo.data import ArithmeticDataset, MixedDataset, ProblemDataset, Wrapping
from gmpo.data.selection import Question

LETTERS = "abcdefghijklmnopqrst"
Rows = list[dict[str, str]]


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def problems(*texts: str, answer: str = "1") -> Rows:
    return [{"problem": text, "answer": answer} for text in texts]


def write(path: Path, rows: Rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def texts(dataset: ProblemDataset | MixedDataset, split: str) -> list[str]:
    return [question.text for question in dataset.questions(split)]  # type: ignore[arg-type]


def refusal(dataset: ProblemDataset, split: str = "validation") -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        dataset.questions(split)  # type: ignore[arg-type]
    assert error.type is ValueError
    return str(error.value)


def test_questions_know_their_data_set(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", problems("a"))
    assert ProblemDataset("mine", path=path).questions("train") == [Question("a", "1", "mine")]


@pytest.mark.parametrize("name", ["validation.jsonl", "test.jsonl"])
def test_validation_file_beside_the_training_file(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "train.jsonl", problems("a"))
    write(tmp_path / name, problems("b"))
    (tmp_path / "test.csv").write_text("problem,answer\nc,1\n")
    assert texts(ProblemDataset("mine", path=path), "validation") == ["b"]


def test_validation_file_has_the_suffix_of_the_training_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("problem,answer\na,1\n")
    (tmp_path / "test.csv").write_text("problem,answer\nb,1\n")
    write(tmp_path / "test.jsonl", problems("c"))
    assert texts(ProblemDataset("mine", path=str(tmp_path / "train.csv")), "validation") == ["b"]


def test_named_validation_file_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", problems("a"))
    write(tmp_path / "test.jsonl", problems("b"))
    (tmp_path / "other.csv").write_text("problem,answer\nc,1\n")
    for split in ("test", None):
        named = ProblemDataset(
            "mine", path=path, validation_path=str(tmp_path / "other.csv"), held_out=1, validation_split=split
        )
        assert texts(named, "validation") == ["c"]
        assert texts(named, "train") == ["a"]


def test_no_validation_problems(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", problems("a"))
    said = refusal(ProblemDataset("mine", path=path))
    assert f"{tmp_path}/test.jsonl and {tmp_path}/validation.jsonl do not exist" in said
    assert "data.validation_path=FILE" in said
    assert "data.held_out=NUMBER" in said
    assert "benchmark=NAME" in said
    assert "data.validation_split is null" in refusal(ProblemDataset("mine", path=path, validation_split=None))
    assert "data.validation_split is null" in refusal(ProblemDataset("mine", hub_id="x/y", validation_split=None))


def test_a_file_does_not_validate_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "test.jsonl", problems("a"))
    said = refusal(ProblemDataset("mine", path=path))
    assert f"({tmp_path}/validation.jsonl do" in said
    assert texts(ProblemDataset("mine", path=path), "train") == ["a"]


def test_splits_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "splits"
    DatasetDict({s: Dataset.from_list(problems(s)) for s in ("train", "test", "hard")}).save_to_disk(folder)
    assert texts(ProblemDataset("mine", path=str(folder)), "train") == ["train"]
    assert texts(ProblemDataset("mine", path=str(folder)), "validation") == ["test"]
    assert texts(ProblemDataset("mine", path=str(folder), validation_split="hard"), "validation") == ["hard"]
    missing = ProblemDataset("mine", path=str(folder), validation_split="easy")
    assert "no split easy" in refusal(missing)
    assert texts(ProblemDataset("mine", path=str(folder), validation_path=str(folder)), "validation") == ["test"]


def test_table_without_splits_is_for_training(tmp_path: Path) -> None:
    folder = str(tmp_path / "table")
    Dataset.from_list(problems(*LETTERS)).save_to_disk(folder)
    assert texts(ProblemDataset("mine", path=folder), "train") == [*LETTERS]
    assert "data.held_out=NUMBER" in refusal(ProblemDataset("mine", path=folder))
    assert len(texts(ProblemDataset("mine", path=folder, held_out=3), "validation")) == 3


@pytest.mark.parametrize("kind", ["file", "table", "splits"])
def test_benchmark_reads_the_very_path(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("mine.jsonl" if kind == "file" else kind)
    write(tmp_path / "test.jsonl", problems("b"))
    if kind == "file":
        write(path, problems("a"))
    else:
        table = Dataset.from_list(problems("a"))
        (table if kind == "table" else DatasetDict({"amc": table})).save_to_disk(path)
    dataset = ProblemDataset("mine", path=str(path), train_split=None, validation_split="amc")
    assert texts(dataset, "validation") == ["a"]
    assert "mine is for evaluation only: train on another data set" in refusal(dataset, "train")


def test_repeated_problems_are_dropped_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "train.jsonl", problems("a", "b", " a\n", "b", "c", "c") + problems("a", answer="2"))
    with caplog.at_level("INFO", logger="gmpo"):
        found = ProblemDataset("mine", path=path).questions("train")
    assert found == [Question(text, "1", "mine") for text in "abc"]
    said = "mine, train: 4 of 7 rows repeat a problem and are dropped; 1 of them give another answer than the first"
    assert caplog.messages == [f"{said}, which is kept (see {path}, line 7)"]
    caplog.clear()
    assert len(ProblemDataset("mine", path=path, duplicates="keep").questions("train")) == 7
    assert not caplog.messages


def test_repeats_without_another_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = ProblemDataset("mine", path=write(tmp_path / "train.jsonl", problems("a", "a")))
    with caplog.at_level("INFO", logger="gmpo"):
        dataset.questions("train")
    assert caplog.messages == ["mine, train: 1 of 2 rows repeat a problem and are dropped"]


def test_problems_with_more_than_one_answer_are_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = problems("a", "b", "c", "d", "b") + problems("c", "a ", answer="2") + problems("d", "d")
    path = write(tmp_path / "train.jsonl", rows + problems("c", answer="3"))
    dataset = ProblemDataset("mine", path=path, duplicates="drop_conflicting")
    with caplog.at_level("INFO", logger="gmpo"):
        assert dataset.questions("train") == [Question(text, "1", "mine") for text in "bd"]
    assert caplog.messages == [
        f"mine, train: 2 of 4 problems have more than one answer and are dropped with all of their 5 rows "
        f"(see {path}, line 6)",
        "mine, train: 3 of 10 rows repeat a problem and are dropped",
    ]


@pytest.mark.parametrize("instruction", ["keep", "replace"])
def test_a_problem_is_the_same_with_and_without_its_wrapping(tmp_path: Path, instruction: str) -> None:
    rows = problems("Solve: a", "b") + problems("a", answer="2")
    path = write(tmp_path / "train.jsonl", rows)
    options = {"unwrap": Wrapping("Solve: "), "instruction": instruction, "duplicates": "drop_conflicting"}
    assert texts(ProblemDataset("mine", path=path, **options), "train") == ["b"]  # type: ignore[arg-type]


def test_without_conflicts_nothing_but_repeats_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "train.jsonl", problems("a", "b", "a"))
    with caplog.at_level("INFO", logger="gmpo"):
        assert texts(ProblemDataset("mine", path=path, duplicates="drop_conflicting"), "train") == ["a", "b"]
    assert caplog.messages == ["mine, train: 1 of 3 rows repeat a problem and are dropped"]


def test_nothing_but_conflicts(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", problems("a", "b") + problems("a", "b", answer="2"))
    said = refusal(ProblemDataset("mine", path=path, duplicates="drop_conflicting"), "train")
    assert said == (
        f"mine, train: 2 of 2 problems have more than one answer (see {path}, line 3); fix the rows, "
        "or keep each first one by data.duplicates=drop"
    )


def test_held_out_problems_have_one_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", problems(*LETTERS) + problems(*LETTERS[:10], answer="2"))
    dataset = ProblemDataset("mine", path=path, held_out=4, duplicates="drop_conflicting")
    train, validation = texts(dataset, "train"), texts(dataset, "validation")
    assert (len(train), len(validation)) == (6, 4)
    assert {*train, *validation} == {*LETTERS[10:]}


def test_held_out_problems_leave_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "train.jsonl", problems(*LETTERS, *LETTERS))
    dataset = ProblemDataset("mine", path=path, held_out=5)
    with caplog.at_level("INFO", logger="gmpo"):
        train, validation = texts(dataset, "train"), texts(dataset, "validation")
    assert (len(train), len(validation)) == (15, 5)
    assert {*train} | {*validation} == {*LETTERS}
    assert train == sorted(train)
    assert "mine: 5 of 20 problems are held out of training for validation" in caplog.messages
    assert len(caplog.messages) == 2, "said once, for both splits"


def test_which_are_held_out_is_the_problems_own_affair(tmp_path: Path) -> None:
    """Neither the order of the rows nor their number of repeats nor the instruction changes it."""
    shuffled = [*LETTERS * 3]
    random.Random(0).shuffle(shuffled)
    wrapped = [f"Solve: {text}" for text in LETTERS]
    one, other, third = (
        write(tmp_path / f"{i}.jsonl", problems(*rows)) for i, rows in enumerate((LETTERS, shuffled, wrapped))
    )
    expected = texts(ProblemDataset("mine", path=one, held_out=5), "validation")
    assert texts(ProblemDataset("mine", path=other, held_out=5), "validation") == expected
    fewer = texts(ProblemDataset("mine", path=one, held_out=4), "validation")
    assert fewer == expected[:4]
    for instruction, prefix in (("keep", "Solve: "), ("replace", "")):
        dataset = ProblemDataset("mine", path=third, held_out=5, unwrap=Wrapping("Solve: "), instruction=instruction)
        assert texts(dataset, "validation") == [prefix + text for text in expected]


def test_held_out_with_repeats_that_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", problems(*LETTERS, *LETTERS))
    dataset = ProblemDataset("mine", path=path, held_out=5, duplicates="keep")
    train, validation = texts(dataset, "train"), texts(dataset, "validation")
    assert (len(train), len(validation)) == (30, 10)
    assert not {*train} & {*validation}


def test_everything_held_out(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", problems(*"abc", *"abc"))
    said = refusal(ProblemDataset("mine", path=path, held_out=3), "train")
    assert "data.held_out=3 leaves nothing of 3 problems to train on" in said


def test_hub(tmp_path: Path) -> None:
    """`load_dataset` itself, on a folder, which it takes as it takes an id on the hub."""
    folder = tmp_path / "folder"
    (folder / "main").mkdir(parents=True)
    for split in ("train", "test"):
        Dataset.from_list(problems(split)).to_parquet(folder / "main" / f"{split}-00000-of-00001.parquet")
    files = "".join(f"\n  - split: {split}\n    path: main/{split}-*" for split in ("train", "test"))
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: main\n  data_files:{files}\n---\n")
    for where in ({"hub_id": str(folder)}, {"path": str(folder)}):
        dataset = ProblemDataset("mine", **where, hub_config="main")  # type: ignore[arg-type]
        assert texts(dataset, "train") == ["train"]
        assert texts(dataset, "validation") == ["test"]


def test_folder_of_plain_files(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", problems("a"))
    write(tmp_path / "test.jsonl", problems("b"))
    dataset = ProblemDataset("mine", hub_id="some/where", hub_config="main", path=str(tmp_path))
    assert texts(dataset, "train") == ["a"]
    assert texts(dataset, "validation") == ["b"]
    assert "no split hard" in refusal(ProblemDataset("mine", path=str(tmp_path), validation_split="hard"))


def test_hub_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "train.jsonl", problems("a", " "))
    said = refusal(ProblemDataset("mine", hub_id=f"{tmp_path}/folder"), "train")
    assert said.startswith(f"{tmp_path}/folder, split train, row 1: column 'problem' holds no question")


def test_hub_without_rows(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    nothing = Dataset.from_dict({"problem": [], "answer": []})
    nothing.to_parquet(tmp_path / "folder" / "train-00000-of-00001.parquet")
    said = refusal(ProblemDataset("mine", hub_id=f"{tmp_path}/folder"), "train")
    assert "split 'train') cannot be loaded" in said


def test_hub_out_of_reach() -> None:
    dataset = ProblemDataset("mine", hub_id="some/problems", hub_config="main", node="benchmark.mine", train_split=None)
    said = refusal(dataset)
    assert "data set 'some/problems' (config 'main', split 'test') cannot be loaded" in said
    assert "benchmark.mine.path=FILE" in said
    assert "benchmark.mine.hub_id" in said


def test_split_that_the_hub_has_not(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", problems("a"))
    said = refusal(ProblemDataset("mine", hub_id=str(tmp_path), validation_split="hard"))
    assert "split 'hard') cannot be loaded" in said
    assert "the split" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"result": "last"}, "data.result=last must be whole or boxed or after_hashes"),
        ({"question_format": "html"}, "data.question_format=html must be text or chat"),
        ({"instruction": "cut"}, "data.instruction=cut must be keep or replace"),
        ({"empty_answers": "keep"}, "data.empty_answers=keep must be drop or error"),
        ({"duplicates": "error"}, "data.duplicates=error must be drop or keep or drop_conflicting"),
        ({"held_out": -1}, "data.held_out=-1 must be a whole number"),
        ({"held_out": 0.1}, "data.held_out=0.1 must be a whole number"),
        ({"levels": 3}, "data.levels=3 must be a list such as [3,4,5]"),
        ({"levels": []}, r"data.levels=[] must be a list"),
        ({"levels": ["Level 3"]}, "must be a list such as [3,4,5]"),
        ({"levels": "345"}, "must be a list"),
        (
            {"instruction": "replace"},
            "data.instruction=replace, but the text that mine puts around a question is unknown",
        ),
        ({"hub_id": None}, "mine: no data; give data.path=FILE or data.hub_id=ID"),
    ],
)
def test_bad_options_are_refused_at_once(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        ProblemDataset(**({"name": "mine", "hub_id": "some/where"} | options))  # type: ignore[arg-type]
    assert said in str(error.value)


def test_mixed_data_sets_keep_their_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "train.jsonl", problems(f"{name} train"))
        write(tmp_path / name / "test.jsonl", problems(f"{name} test"))
    datasets = {name: ProblemDataset(name, path=str(tmp_path / name / "train.jsonl")) for name in ("one", "two")}
    mixed = MixedDataset(datasets, "both")
    assert mixed.questions("train") == [Question(f"{name} train", "1", name) for name in ("one", "two")]
    assert mixed.questions("validation") == [Question(f"{name} test", "1", name) for name in ("one", "two")]


def test_mixed_data_sets_have_names_of_their_own() -> None:
    same = ArithmeticDataset(["1+1"], 1, 1)
    with pytest.raises(ValueError, match="both holds several data sets of the name arithmetic"):
        MixedDataset({"one": same, "two": same}, "both")
    with pytest.raises(ValueError, match="both holds no data set"):
        MixedDataset({}, "both")
