"""The published problems themselves, where they are at hand."""

import json
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet
import pytest

from gmpo.data import ProblemDataset, Wrapping
from gmpo.data.selection import Question

FILES = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_files = pytest.mark.skipif(not FILES.is_dir(), reason="the files of real problems are not here")
pytestmark = needs_files
DAPO = FILES / "dapo_math_schema" / "train.parquet"
WRAPPING = Wrapping(
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n",
    '\n\nRemember to put your answer on its own line after "Answer:".',
)


def rows_of(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (FILES / name).read_bytes().splitlines()]


def gsm8k(**options: object) -> ProblemDataset:
    path = str(FILES / "gsm8k" / "train.jsonl")
    return ProblemDataset("gsm8k", path=path, question="question", result="after_hashes", **options)  # type: ignore[arg-type]


def dapo(**options: object) -> ProblemDataset:
    return ProblemDataset(
        "dapo",
        path=str(DAPO),
        validation_split=None,
        question="prompt",
        question_format="chat",
        answer="reward_model.ground_truth",
        unwrap=WRAPPING,
        **options,  # type: ignore[arg-type]
    )


def benchmark(name: str, **options: object) -> list[Question]:
    path = str(FILES / name / "test.jsonl")
    dataset = ProblemDataset(name, path=path, train_split=None, validation_split="x", **options)  # type: ignore[arg-type]
    return dataset.questions("validation")


@pytest.mark.parametrize(("split", "file", "count"), [("train", "train", 7473), ("validation", "test", 1319)])
def test_gsm8k(split: str, file: str, count: int) -> None:
    rows = rows_of(f"gsm8k/{file}.jsonl")
    questions = gsm8k().questions(split)  # type: ignore[arg-type]
    assert len(questions) == len(rows) == count
    for question, row in zip(questions, rows, strict=True):
        assert question.text == row["question"]
        assert re.fullmatch(r"-?\d+(\.\d+)?", question.answer)
        assert str(row["answer"]).replace(",", "").endswith(f"#### {question.answer}")
    assert any(re.search(r"#### -?\d+,\d{3}", str(row["answer"])) for row in rows)


@pytest.mark.parametrize("instruction", ["keep", "replace"])
def test_dapo(instruction: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="gmpo"):
        questions = dapo(instruction=instruction).questions("train")
    assert caplog.messages == ["dapo, train: 400 of 600 rows repeat a problem and are dropped"]
    prompts = [row["prompt"][0]["content"] for row in pyarrow.parquet.read_table(DAPO).to_pylist()]
    assert len(questions) == len({*prompts}) == 200
    for question, prompt in zip(questions, dict.fromkeys(prompts), strict=True):
        whole = question.text if instruction == "keep" else WRAPPING.prefix + question.text + WRAPPING.suffix
        assert whole == prompt
        assert "Answer:" not in question.text.replace(WRAPPING.prefix, "").replace(WRAPPING.suffix, "")


def test_dapo_agrees_with_what_it_was_made_from() -> None:
    known = {question.text: question.answer for question in benchmark("math500")}
    questions = dapo(instruction="replace").questions("train")
    assert sum(known[question.text] == question.answer for question in questions) == 200


def test_dapo_held_out() -> None:
    parts = {}
    for instruction in ("keep", "replace"):
        dataset = dapo(instruction=instruction, held_out=20)
        train, validation = ({q.text for q in dataset.questions(split)} for split in ("train", "validation"))
        assert (len(train), len(validation), len(train & validation)) == (180, 20, 0)
        parts[instruction] = {WRAPPING.cut(text) for text in validation}
    assert parts["keep"] == parts["replace"]


def test_amc23_floats() -> None:
    questions = benchmark("amc23")
    assert len(questions) == 83
    assert questions[0].answer == "142"
    assert all(re.fullmatch(r"-?\d+(\.\d*[1-9])?", question.answer) for question in questions)
    assert [float(q.answer) for q in questions] == [row["answer"] for row in rows_of("amc23/test.jsonl")]


@pytest.mark.parametrize(("name", "count"), [("math500", 500), ("aime24", 30)])
@pytest.mark.parametrize("column", ["answer", "answer.0"])
def test_plain_answers(name: str, count: int, column: str) -> None:
    rows = rows_of(f"{name}/test.jsonl")
    questions = benchmark(name, answer=column)
    assert len(questions) == count
    assert [(q.text, q.answer) for q in questions] == [(row["problem"], row["answer"]) for row in rows]
    assert Counter(q.benchmark_name for q in questions) == {name: count}


def test_the_remedies_of_the_messages_work() -> None:
    """From nothing but the file's path, one message after the other leads to its problems."""
    options: dict[str, object] = {"validation_split": None}
    remedies = []
    while True:
        try:
            found = ProblemDataset("dapo", path=str(DAPO), **options).questions("train")  # type: ignore[arg-type]
            break
        except ValueError as error:
            remedies.append(re.findall(r"data\.(\w+)=", str(error))[-1])
            answers = {"question": "prompt", "question_format": "chat", "answer": "reward_model.ground_truth"}
            assert remedies[-1] not in options
            options[remedies[-1]] = answers[remedies[-1]]
    assert remedies == ["question", "question_format", "answer"]
    assert len(found) == 200
