import json
import re
from pathlib import Path

import pytest

from gmpo.data.sources import GSM8KSource, Question

GSM8K = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k"
needs_files = pytest.mark.skipif(not GSM8K.is_dir(), reason="the GSM8K files are not here")
GOOD = {"question": "How many?", "answer": "Two and two.\n#### 4"}


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return str(path)


def message(path: str, split: str = "train") -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        GSM8KSource(path=path).questions(split)
    return str(error.value)


@needs_files
@pytest.mark.parametrize(("split", "file", "count"), [("train", "train", 7473), ("validation", "test", 1319)])
def test_real_files(split: str, file: str, count: int) -> None:
    rows = [json.loads(line) for line in (GSM8K / f"{file}.jsonl").open(encoding="utf-8")]
    questions = GSM8KSource(path=str(GSM8K / "train.jsonl")).questions(split)
    assert len(questions) == len(rows) == count
    for question, row in zip(questions, rows, strict=True):
        assert question.text == row["question"]
        assert re.fullmatch(r"-?\d+(\.\d+)?", question.answer)
        assert row["answer"].replace(",", "").endswith(f"#### {question.answer}")
    assert any(re.search(r"#### -?\d+,\d{3}", row["answer"]) for row in rows)


def test_answer_follows_the_last_marker_without_commas(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", GOOD, {"question": "q", "answer": "#### 3\nno:\n#### 1,234,000 "})
    assert GSM8KSource(path=path).questions("train") == [Question("How many?", "4"), Question("q", "1234000")]


def test_missing_file(tmp_path: Path) -> None:
    text = message(str(tmp_path / "nowhere.jsonl"))
    assert f"{tmp_path}/nowhere.jsonl does not exist" in text
    assert "data.path=FILE" in text


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_empty_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "train.jsonl").write_text(content)
    text = message(str(tmp_path / "train.jsonl"))
    assert f"{tmp_path}/train.jsonl is empty" in text
    assert "one JSON object a line" in text
    assert "'question', 'answer'" in text


BAD_ROWS = [
    ("{not json", ["is not JSON", "'{not json'", "expected one object a line"]),
    ("[1, 2]", ["holds list", "an object with columns 'question', 'answer'"]),
    (
        {"prompt": "q", "answer": "#### 4"},
        ["lacks column 'question'", "found columns 'prompt', 'answer'", "Rename"],
    ),
    (
        {"q": "q", "a": "4"},
        ["lacks columns 'question', 'answer'", "found columns 'q', 'a'", "choose another file"],
    ),
    ({"question": "q", "answer": "it is 4"}, ["must end with '#### RESULT'", "'it is 4'", "mend the row"]),
    (
        {"question": "q", "answer": "it is\n#### "},
        ["must end with '#### RESULT'", "'it is\\n#### '", "mend the row"],
    ),
    ({"question": "q", "answer": 4}, ["must be text", "found str and int"]),
    ({"question": None, "answer": "#### 4"}, ["must be text", "found NoneType and str"]),
]


@pytest.mark.parametrize(("row", "parts"), BAD_ROWS)
def test_bad_row_is_named(tmp_path: Path, row: object, parts: list[str]) -> None:
    text = message(write(tmp_path / "train.jsonl", GOOD, "", row, GOOD))
    assert f"{tmp_path}/train.jsonl, line 3" in text  # the blank line counts
    for part in parts:
        assert part in text


def test_no_validation_file(tmp_path: Path) -> None:
    text = message(write(tmp_path / "train.jsonl", GOOD), "validation")
    assert f"data.path={tmp_path}/train.jsonl" in text
    assert f"{tmp_path}/test.jsonl and {tmp_path}/validation.jsonl do not exist" in text
    assert "data.validation_path=FILE" in text


def held_out(answer: str) -> dict[str, str]:
    return {"question": "held out", "answer": f"#### {answer}"}


@pytest.mark.parametrize("name", ["validation.jsonl", "test.jsonl"])
def test_validation_file_beside_the_training_file(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "train.jsonl", GOOD)
    write(tmp_path / name, held_out("7"))
    assert GSM8KSource(path=path).questions("validation") == [Question("held out", "7")]


def test_named_validation_file_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", GOOD)
    write(tmp_path / "test.jsonl", held_out("7"))
    named = write(tmp_path / "other.jsonl", held_out("8"))
    assert GSM8KSource(path=path, validation_path=named).questions("validation") == [Question("held out", "8")]
