"""Every format that problems come in, and every way in which a file can be wrong."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset, DatasetDict

from gmpo.data import ProblemDataset
from gmpo.data.selection import Question

ROWS = [
    {"problem": 'What is $\\frac{1}{2}+\\frac{1}{2}$,\n"one"?', "answer": "1"},
    {"problem": "Größe \u2028 of 3?", "answer": "025"},
    {"problem": "2+2", "answer": "4"},
]
EXPECTED = [Question(row["problem"], row["answer"], "mine") for row in ROWS]


def as_json_lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(rows: list[dict[str, str]]) -> str:
    doubled = [[cell.replace('"', '""') for cell in row.values()] for row in rows]
    return "problem,answer\n" + "".join(f'"{question}",{answer}\n' for question, answer in doubled)


WRITERS: dict[str, Callable[[Path], object]] = {
    "rows.jsonl": lambda path: path.write_text(as_json_lines(ROWS)),
    "crlf.jsonl": lambda path: path.write_bytes(as_json_lines(ROWS).replace("\n", "\r\n\r\n").encode()),
    "bom.JSONL": lambda path: path.write_text("\n" + as_json_lines(ROWS), encoding="utf-8-sig"),
    "raw.jsonl": lambda path: path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in ROWS)),
    "list.json": lambda path: path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8-sig"),
    "one_list.json": lambda path: path.write_text(json.dumps({"version": 1, "data": ROWS})),
    "lines.json": lambda path: path.write_text(as_json_lines(ROWS)),
    "rows.csv": lambda path: path.write_text(as_csv(ROWS)),
    "crlf.csv": lambda path: path.write_bytes(b"\xef\xbb\xbf" + as_csv(ROWS).replace("\n2+2", "\n\n2+2").encode()),
    "rows.parquet": lambda path: pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path),
    "table": lambda path: Dataset.from_list(ROWS).save_to_disk(path),
    "splits": lambda path: DatasetDict({"train": Dataset.from_list(ROWS)}).save_to_disk(path),
    "files": lambda path: (make(path) / "train.json").write_text(as_json_lines(ROWS)),
    "like_the_hub": lambda path: [
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path / "data" / f"train-0000{i}-of-00002.parquet")
        for i, rows in enumerate((ROWS[:1], ROWS[1:]))
        if make(path / "data")
    ],
}


def make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def questions(path: Path, **options: object) -> list[Question]:
    return ProblemDataset("mine", path=str(path), **options).questions("train")  # type: ignore[arg-type]


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        questions(path, **options)
    assert error.type is ValueError
    return str(error.value)


@pytest.mark.parametrize("name", WRITERS)
def test_formats(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    assert questions(tmp_path / name) == EXPECTED


def test_rows_come_as_they_are_asked_for(tmp_path: Path) -> None:
    """A file of millions of repeated rows is never in memory as a whole, and an error comes at its row."""
    from gmpo.data.files import read_file

    path = tmp_path / "rows.jsonl"
    path.write_text(as_json_lines(ROWS) + "{broken")
    rows = read_file(path, ["problem"])
    assert [next(rows)[1] for _ in range(3)] == [f"{path}, line {number}" for number in (1, 2, 3)]
    with pytest.raises(ValueError, match="line 4 is not JSON"):
        next(rows)


@pytest.mark.parametrize("name", ["rows.parquet", "table"])
def test_only_the_columns_that_are_needed_are_read(tmp_path: Path, name: str) -> None:
    from gmpo.data.files import read_file
    from gmpo.data.folders import read_folder

    rows = [{"problem": "q", "reward": {"truth": "4"}, "huge": "x"}]
    path, columns = tmp_path / name, ["problem", "reward.truth"]
    if name == "table":
        Dataset.from_list(rows).save_to_disk(path)
        ((row, where),) = read_folder(path, None, "train", columns, "data")
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        ((row, where),) = read_file(path, columns)
    assert row == {"problem": "q", "reward": {"truth": "4"}}
    assert where == f"{path}, row 0"
    assert questions(path, answer="reward.truth") == [Question("q", "4", "mine")]
    assert "found columns 'problem', 'reward', 'huge'" in refusal(path)


def test_rows_of_a_folder_are_counted_over_batches(tmp_path: Path) -> None:
    rows = [{"problem": f"{i}", "answer": str(i)} for i in range(2500)] + [{"problem": " ", "answer": "1"}]
    for name, save in (("table", Dataset.save_to_disk), ("rows.parquet", Dataset.to_parquet)):
        save(Dataset.from_list(rows), tmp_path / name)
        assert f"{tmp_path}/{name}, row 2500" in refusal(tmp_path / name)


BAD_FILES = {
    "rows.txt": (b"2+2 = 4", ["rows.txt is of no known kind", ".jsonl, .json, .csv, .parquet", "folder"]),
    "rows": (b"", ["rows is of no known kind"]),
    "empty.jsonl": (b"", ["empty.jsonl is empty", "a row for each problem"]),
    "blank.jsonl": (b"\n \r\n", ["blank.jsonl is empty"]),
    "bom.jsonl": (b"\xef\xbb\xbf", ["bom.jsonl is empty"]),
    "empty.json": (b" ", ["empty.json is empty"]),
    "no_row.json": (b"[]", ["no_row.json is empty"]),
    "empty.csv": (b"", ["empty.csv is empty"]),
    "header.csv": (b"problem,answer\n", ["header.csv is empty"]),
    "broken.jsonl": (b'{"problem": "1", "answer": 2}\n\n{not json\n', ["line 3 is not JSON", "'{not json'", "a line"]),
    "list.jsonl": (b"[1, 2]\n", ["line 1 holds list [1, 2], not an object"]),
    "deep.jsonl": (b"[" * 100_000, ["line 1 is not JSON", "recursion"]),
    "long.jsonl": (b'{"problem": "q", "answer": ' + b"1" * 5000 + b"}", ["line 1 is not JSON", "4300 digits"]),
    "latin.jsonl": (
        '{"problem": "1", "answer": 2}\n{"problem": "Größe"}'.encode("latin-1"),
        ["line 2 is not UTF-8", "save"],
    ),
    "wide.csv": ("problem,answer\n1+1,2".encode("utf-16"), ["line 1 is not UTF-8"]),
    "broken.json": (b'[{"problem": "1", "answer": 2},\n', ["broken.json is not JSON", "a list of objects"]),
    "number.json": (b"[1]", ["row 0 holds int 1, not an object"]),
    "no_list.json": (b'{"problem": "1", "answer": "2"}', ["must hold a list of objects", "one such list"]),
    "two_lists.json": (b'{"train": [], "test": []}', ["must hold a list of objects", "found dict"]),
    "quote.csv": (b'problem,answer\n"1,2\n', ["line 2 is not CSV", "quote"]),
    "comma.csv": (b"problem,answer\n1+1,2\n\nf(1,2),3\n", ["line 4 has 3 cells and the header 2", "quote"]),
    "broken.parquet": (b"PAR1 and nothing more", ["broken.parquet is not Parquet that can be read"]),
    "twice.csv": (b"problem,answer,answer\n1+1,2,3\n", ["line 1 names a column twice", "rename one"]),
    "half.csv": (b"problem,answer\n1+1\n", ["line 2 has 1 cells and the header 2"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_named(tmp_path: Path, name: str) -> None:
    content, parts = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    said = refusal(tmp_path / name)
    for part in [str(tmp_path / name), *parts]:
        assert part in said


def test_missing_file(tmp_path: Path) -> None:
    said = refusal(tmp_path / "nowhere.jsonl")
    assert f"{tmp_path}/nowhere.jsonl does not exist (looked in {Path.cwd()})" in said
    assert said.endswith("give it by data.path=FILE")
    assert "benchmark.mine.path=FILE" in refusal(tmp_path / "nowhere.jsonl", node="benchmark.mine")
    (tmp_path / "train.jsonl").write_text(as_json_lines(ROWS))
    dataset = ProblemDataset("mine", path=str(tmp_path / "train.jsonl"), validation_path=str(tmp_path / "no.csv"))
    with pytest.raises(ValueError, match=r"no\.csv does not exist .* data\.validation_path=FILE"):
        dataset.questions("validation")


def test_folder_without_data(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    assert f"{tmp_path} holds neither what save_to_disk writes nor a file for each split" in refusal(tmp_path)
    assert "name a file in it" in refusal(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        ["train.jsonl", "train.json"],
        ["train.jsonl", "data/train.jsonl"],
        ["train-00000-of-00002.jsonl"],
        ["train-00000-of-00001.jsonl", "train.jsonl"],
    ],
)
def test_folder_with_other_files_than_one_set(tmp_path: Path, files: list[str]) -> None:
    for file in files:
        make((tmp_path / file).parent)
        (tmp_path / file).write_text(as_json_lines(ROWS))
    assert f"{tmp_path} holds " in refusal(tmp_path)
    assert "for the split train: it must be one file or all parts of one" in refusal(tmp_path)


def test_broken_folders(tmp_path: Path) -> None:
    splits = tmp_path / "splits"
    DatasetDict({"train": Dataset.from_list(ROWS), "hard": Dataset.from_list(ROWS[:1])}).save_to_disk(splits)
    assert questions(splits, train_split="hard") == EXPECTED[:1]
    said = refusal(splits, train_split="easy")
    assert f"{splits} has no split 'easy', only train, hard: name one by data.train_split" in said
    for file in (splits / "train").glob("*.arrow"):
        file.unlink()
    assert f"{splits}/train cannot be read" in refusal(splits)


def test_empty_table(tmp_path: Path) -> None:
    Dataset.from_dict({"problem": [], "answer": []}).save_to_disk(tmp_path / "table")
    assert f"{tmp_path}/table is empty" in refusal(tmp_path / "table")


def test_decimals_of_a_table(tmp_path: Path) -> None:
    table = pyarrow.table({"problem": ["a", "b"], "answer": pyarrow.array([Decimal("3.50"), Decimal("120.00")])})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    found = ProblemDataset("mine", path=str(tmp_path / "train.parquet")).questions("train")
    assert [question.answer for question in found] == ["3.5", "120"]


def test_numbers_of_a_table_that_are_wide(tmp_path: Path) -> None:
    wide = Decimal("12345678901234567890123456789012345.50")
    table = pyarrow.table({"problem": ["a"], "answer": pyarrow.array([wide], pyarrow.decimal128(38, 2))})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    (question,) = questions(tmp_path / "train.parquet")
    assert question.answer == "12345678901234567890123456789012345.5"


@pytest.mark.parametrize(
    "parts",
    [
        ["train-00000-of-00001-a09b74b3ef9c3b56"],
        ["train-00000-of-00002-a09b74b3ef9c3b56", "train-00001-of-00002-0123456789abcdef"],
        ["train-00000-of-00002", "train-00001-of-00002-0123456789abcdef"],
    ],
)
@pytest.mark.parametrize("place", ["", "data"])
def test_parts_with_a_hash_in_their_names(tmp_path: Path, parts: list[str], place: str) -> None:
    """As data sets on the hub were written until 2023."""
    folder = make(tmp_path / place)
    for name, rows in zip(parts, ([ROWS] if len(parts) == 1 else [ROWS[:1], ROWS[1:]]), strict=True):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"{name}.parquet")
    validation = [{"problem": "v", "answer": "1"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(validation), folder / "test-00000-of-00001-ffff0000.parquet")
    assert questions(tmp_path) == EXPECTED
    assert ProblemDataset("mine", path=str(tmp_path)).questions("validation") == [Question("v", "1", "mine")]


def test_one_part_twice_is_not_all_of_them(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002-aaaa", "train-00000-of-00002-bbbb"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / f"{name}.parquet")
    assert "it must be one file or all parts of one" in refusal(tmp_path)


def test_a_folder_of_other_splits_names_them(tmp_path: Path) -> None:
    for split in ("train", "hard"):
        (tmp_path / f"{split}.jsonl").write_text(as_json_lines(ROWS))
    with pytest.raises(ValueError, match=r"no split test, only hard, train: name one by data\.validation_split"):
        ProblemDataset("mine", path=str(tmp_path)).questions("validation")


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "train.jsonl").write_text(as_json_lines(ROWS))
    (tmp_path / "test.jsonl").write_text(as_json_lines(ROWS[:1]))
    (tmp_path / "other.jsonl").write_text(as_json_lines(ROWS[1:]))
    dataset = ProblemDataset("mine", path="~/train.jsonl")
    assert (dataset.questions("train"), dataset.questions("validation")) == (EXPECTED, EXPECTED[:1])
    named = ProblemDataset("mine", path="~/train.jsonl", validation_path="~/other.jsonl")
    assert named.questions("validation") == EXPECTED[1:]
    benchmark = ProblemDataset("mine", path="~/other.jsonl", train_split=None)
    assert benchmark.questions("validation") == EXPECTED[1:]
    assert "no_such_user" in refusal(Path("~no_such_user/train.jsonl"))
    assert f"{tmp_path}/no.jsonl does not exist" in refusal(Path("~/no.jsonl"))
