"""Problems in the formats of the published data sets: invented ones, and the published ones where they lie."""

import json
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet
import pytest
from conftest import ROOT

from gmpo.data import ProblemDataset, Wrapping
from gmpo.data.selection import Question

INVENTED, PUBLISHED = Path(__file__).with_name("files"), ROOT.parent / "shared" / "data"
FOLDERS = [folder for folder in (INVENTED, PUBLISHED) if folder.is_dir()]
every_folder = pytest.mark.parametrize("files", FOLDERS, ids=lambda folder: folder.parent.name)
WRAPPING = Wrapping(
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n",
    '\n\nRemember to put your answer on its own line after "Answer:".',
)


def rows_of(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def gsm8k(files: Path, **options: object) -> ProblemDataset:
    path = str(files / "gsm8k" / "train.jsonl")
    return ProblemDataset("gsm8k", path=path, question="question", result="after_hashes", **options)  # type: ignore[arg-type]


def dapo_file(files: Path) -> Path:
    return files / "dapo_math_schema" / "train.parquet"


def dapo_prompts(files: Path) -> list[str]:
    return [row["prompt"][0]["content"] for row in pyarrow.parquet.read_table(dapo_file(files)).to_pylist()]


def dapo(files: Path, **options: object) -> ProblemDataset:
    return ProblemDataset(
        "dapo",
        path=str(dapo_file(files)),
        validation_split=None,
        question="prompt",
        question_format="chat",
        answer="reward_model.ground_truth",
        unwrap=WRAPPING,
        **options,  # type: ignore[arg-type]
    )


def benchmark(files: Path, name: str, **options: object) -> list[Question]:
    path = str(files / name / "test.jsonl")
    source = ProblemDataset(name, path=path, train_split=None, validation_split="x", **options)  # type: ignore[arg-type]
    return source.questions("validation")


@every_folder
@pytest.mark.parametrize(("split", "file"), [("train", "train"), ("validation", "test")])
def test_gsm8k(files: Path, split: str, file: str) -> None:
    rows = rows_of(files / "gsm8k" / f"{file}.jsonl")
    questions = gsm8k(files).questions(split)  # type: ignore[arg-type]
    assert len(questions) == len(rows) > 10
    for question, row in zip(questions, rows, strict=True):
        assert question.text == row["question"]
        assert re.fullmatch(r"-?\d+(\.\d+)?", question.answer)
        assert str(row["answer"]).replace(",", "").endswith(f"#### {question.answer}")
    assert any(re.search(r"#### -?\d+,\d{3}", str(row["answer"])) for row in rows)


@every_folder
@pytest.mark.parametrize("instruction", ["keep", "replace"])
def test_dapo(files: Path, instruction: str, caplog: pytest.LogCaptureFixture) -> None:
    prompts = dapo_prompts(files)
    distinct = list(dict.fromkeys(prompts))
    with caplog.at_level("INFO", logger="gmpo"):
        questions = dapo(files, instruction=instruction).questions("train")
    repeated = len(prompts) - len(distinct)
    assert caplog.messages == [f"dapo, train: {repeated} of {len(prompts)} rows repeat a problem and are dropped"]
    assert len(questions) == len(distinct) == len(prompts) / 3
    for question, prompt in zip(questions, distinct, strict=True):
        whole = question.text if instruction == "keep" else WRAPPING.prefix + question.text + WRAPPING.suffix
        assert whole == prompt
        assert "Answer:" not in question.text.replace(WRAPPING.prefix, "").replace(WRAPPING.suffix, "")


@every_folder
def test_dapo_agrees_with_what_it_was_made_from(files: Path) -> None:
    known = {question.text: question.answer for question in benchmark(files, "math500")}
    questions = dapo(files, instruction="replace").questions("train")
    assert [known[question.text] for question in questions] == [question.answer for question in questions]


@every_folder
def test_dapo_held_out(files: Path) -> None:
    parts, total = {}, len({*dapo_prompts(files)})
    for instruction in ("keep", "replace"):
        source = dapo(files, instruction=instruction, held_out=20)
        train, validation = ({q.text for q in source.questions(split)} for split in ("train", "validation"))
        assert (len(train), len(validation), len(train & validation)) == (total - 20, 20, 0)
        parts[instruction] = {WRAPPING.cut(text) for text in validation}
    assert parts["keep"] == parts["replace"]


@every_folder
def test_amc23_floats(files: Path) -> None:
    questions, rows = benchmark(files, "amc23"), rows_of(files / "amc23" / "test.jsonl")
    assert [float(q.answer) for q in questions] == [row["answer"] for row in rows]
    assert all(re.fullmatch(r"-?\d+(\.\d*[1-9])?", question.answer) for question in questions)
    assert any("." not in question.answer for question in questions)


@every_folder
@pytest.mark.parametrize("name", ["math500", "aime24"])
@pytest.mark.parametrize("column", ["answer", "answer.0"])
def test_plain_answers(files: Path, name: str, column: str) -> None:
    rows = rows_of(files / name / "test.jsonl")
    questions = benchmark(files, name, answer=column)
    assert [(q.text, q.answer) for q in questions] == [(row["problem"], row["answer"]) for row in rows]
    assert Counter(q.benchmark_name for q in questions) == {name: len(rows)}


@every_folder
def test_the_remedies_of_the_messages_work(files: Path) -> None:
    """From nothing but the file's path, one message after the other leads to its problems."""
    options: dict[str, object] = {"validation_split": None}
    remedies = []
    while True:
        try:
            found = ProblemDataset("dapo", path=str(dapo_file(files)), **options).questions("train")  # type: ignore[arg-type]
            break
        except ValueError as error:
            remedies.append(re.findall(r"data\.(\w+)=", str(error))[-1])
            answers = {"question": "prompt", "question_format": "chat", "answer": "reward_model.ground_truth"}
            assert remedies[-1] not in options
            options[remedies[-1]] = answers[remedies[-1]]
    assert remedies == ["question", "question_format", "answer"]
    assert len(found) == len({*dapo_prompts(files)})
