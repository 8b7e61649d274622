"""What is made of a row: the question, the answer, the level, and which error where there is none."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmpo.data import ProblemSource, Wrapping
from gmpo.data.answers import number_text
from gmpo.data.reading import level_of
from gmpo.data.selection import Question

GOOD = {"problem": "good", "answer": "0", "level": "Level 1"}
CHAT = [{"role": "system", "content": "Think."}, {"role": "user", "content": "1+1"}]


def questions(folder: Path, *rows: object, **options: object) -> list[Question]:
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ProblemSource("mine", path=str(path), **options).questions("train")  # type: ignore[arg-type]


def read(folder: Path, row: object, **options: object) -> tuple[str, str]:
    """The question and the answer of one row."""
    (question,) = questions(folder, row, **options)
    return question.text, question.answer


def refusal(folder: Path, *rows: object, **options: object) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        questions(folder, *rows, **options)
    assert error.type is ValueError
    return str(error.value)


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("025", "025"),
        (" \\frac{14}{3}\n", "\\frac{14}{3}"),
        ("#### 4", "#### 4"),
        (7, "7"),
        (-7, "-7"),
        (0, "0"),
        (142.0, "142"),
        (0.5, "0.5"),
        (-0.0, "0"),
        (-0.25, "-0.25"),
        (1e20, "1" + "0" * 20),
        (1e-7, "0.0000001"),
    ],
)
def test_answers_that_stand_alone(tmp_path: Path, value: object, answer: str) -> None:
    assert read(tmp_path, {"problem": "q", "answer": value}) == ("q", answer)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_written_exactly_and_without_exponent(value: float) -> None:
    text = number_text(value)
    assert float(text) == value
    assert Decimal(text) == Decimal(repr(value))
    assert not {*text} & {*"eE+"}
    assert not text.endswith(".0")


@pytest.mark.parametrize(
    ("result", "value", "answer"),
    [
        ("boxed", "so $\\boxed{1}$, no: $x=\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("boxed", "\\boxed 5", "5"),
        ("after_hashes", "Two and two.\n#### 4", "4"),
        ("after_hashes", "#### 3\nno:\n#### 1,234,000 ", "1234000"),
    ],
)
def test_answers_at_the_end_of_a_solution(tmp_path: Path, result: str, value: str, answer: str) -> None:
    assert read(tmp_path, {"problem": "q", "answer": value}, result=result) == ("q", answer)


@pytest.mark.parametrize(
    ("column", "row", "answer"),
    [
        ("reward.truth", {"reward": {"truth": "4"}}, "4"),
        ("answer.0", {"answer": ["4"]}, "4"),
        ("answer.0", {"answer": ["4", "5"]}, "4"),
        ("answer.1", {"answer": ["4", "5"]}, "5"),
        ("answer.0", {"answer": "4"}, "4"),
        ("answer.0", {"answer": 4.0}, "4"),
        ("answer.0", {"answer": {"0": "4"}}, "4"),
        ("all.1.value", {"all": [{"value": "3"}, {"value": "4"}]}, "4"),
        ("final.answer", {"final.answer": "4", "final": {"answer": "5"}}, "4"),
    ],
)
def test_columns_within_columns(tmp_path: Path, column: str, row: dict[str, object], answer: str) -> None:
    assert read(tmp_path, row | {"problem": "q"}, answer=column) == ("q", answer)
    assert read(tmp_path, row | {"a": {"b": "q"}}, question="a.b", answer=column) == ("q", answer)


EMPTY = [
    ({"answer": None}, {}, "column 'answer' is empty"),
    ({"answer": ""}, {}, "column 'answer' is empty"),
    ({"answer": " \n"}, {}, "column 'answer' is empty"),
    ({"answer": float("nan")}, {}, "column 'answer' is empty"),  # as tables write what is missing
    ({"answer": []}, {"answer": "answer.0"}, "column 'answer.0' is empty"),
    ({"answer": "4"}, {"answer": "answer.1"}, "column 'answer.1' is empty"),
    ({"reward": None}, {"answer": "reward.truth"}, "column 'reward.truth' is empty"),
    ({"answer": "it is 4"}, {"result": "boxed"}, "must hold a \\boxed{RESULT}, found 'it is 4'"),
    ({"answer": "\\boxed{ }"}, {"result": "boxed"}, "must hold a \\boxed{RESULT}"),
    ({"answer": "it is 4"}, {"result": "after_hashes"}, "must hold #### RESULT, found 'it is 4'"),
    ({"answer": "it is\n#### "}, {"result": "after_hashes"}, "must hold #### RESULT, found 'it is\\n####'"),
]


@pytest.mark.parametrize(("row", "options", "said"), EMPTY)
def test_empty_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, row: object, options: dict[str, object], said: str
) -> None:
    good = {"problem": "good", "answer": ["\\boxed{0}\n#### 0", "0"], "reward": {"truth": "0"}}
    if "." not in options.get("answer", ""):
        good["answer"] = good["answer"][0]
    bad = {"problem": "q"} | row
    message = refusal(tmp_path, good, bad, **options)
    assert f"{tmp_path}/train.jsonl, line 2: " in message
    assert said in message
    assert message.endswith("mend the row, or leave such rows out by data.empty_answers=drop")
    with caplog.at_level("INFO", logger="gmpo"):
        assert len(questions(tmp_path, good, bad, bad, **options, empty_answers="drop")) == 1
    assert caplog.messages[0] == (
        f"mine, train: 2 of 3 rows have no answer and are dropped (the first: {tmp_path}/train.jsonl, line 2)"
    )
    assert "none of 1 rows is left" in refusal(tmp_path, bad, **options, empty_answers="drop")


@pytest.mark.parametrize(
    ("value", "found", "remedy"),
    [
        (True, "bool True", "data.answer=COLUMN"),
        (["4"], "list ['4']", "data.answer=COLUMN (data.answer=answer.0 for the first of a list)"),
        ([], "list []", "data.answer=answer.0"),
        ({"truth": "4"}, "dict {'truth': '4'}", "data.answer=COLUMN"),
        (float("inf"), "float inf", "data.answer=COLUMN"),
        (["x" * 99], "list ['xxx", "..."),
    ],
)
@pytest.mark.parametrize("policy", ["error", "drop"])
def test_answers_of_a_wrong_kind(tmp_path: Path, value: object, found: str, remedy: str, policy: str) -> None:
    said = refusal(tmp_path, GOOD, {"problem": "q", "answer": value}, empty_answers=policy)
    assert f"{tmp_path}/train.jsonl, line 2: column 'answer' must hold text or a number, found {found}" in said
    assert remedy in said


@pytest.mark.parametrize(
    ("row", "options", "parts"),
    [
        (
            {"prompt": "q", "solution": "4"},
            {},
            ["lacks column 'problem'", "found columns 'prompt', 'solution'", "data.question=COLUMN"],
        ),
        ({"problem": "q"}, {}, ["lacks column 'answer'", "found column 'problem'", "data.answer=COLUMN"]),
        ({}, {}, ["lacks column 'problem'", "found no column"]),
        (
            {"problem": "q", "reward": {"style": "rule"}},
            {"answer": "reward.truth"},
            ["lacks column 'reward.truth'", "found column 'style'", "data.answer=COLUMN"],
        ),
        (
            {"problem": "q", "answer": "4"},
            {"answer": "answer.truth"},
            ["column 'answer.truth' asks for 'truth' within str '4'", "data.answer=COLUMN"],
        ),
        (
            {"problem": "q", "answer": "4"},
            {"levels": [3]},
            ["lacks column 'level'", "found columns 'problem', 'answer'", "data.level=COLUMN"],
        ),
    ],
)
def test_missing_columns(tmp_path: Path, row: object, options: dict[str, object], parts: list[str]) -> None:
    said = refusal(tmp_path, row, **options)
    for part in [f"{tmp_path}/train.jsonl, line 1", *parts]:
        assert part in said
    moved = refusal(tmp_path, row, **options, node="benchmark.mine")
    assert moved == said.replace("data.", "benchmark.mine.")


def test_the_row_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path}/train.jsonl, line 2 lacks column 'answer'" in refusal(tmp_path, GOOD, {"problem": "q"})


@pytest.mark.parametrize("value", ["", " \n", None])
def test_empty_questions(tmp_path: Path, value: object) -> None:
    said = refusal(tmp_path, GOOD, {"problem": value, "answer": "4"}, empty_answers="drop")
    assert f"{tmp_path}/train.jsonl, line 2: column 'problem' holds no question" in said


def test_half_a_character(tmp_path: Path) -> None:
    """No tokenizer takes it, and it cannot be written to a file."""
    said = refusal(tmp_path, {"problem": "\ud835", "answer": "4"})
    assert f"{tmp_path}/train.jsonl, line 1: column 'problem' holds half a character" in said
    assert read(tmp_path, {"problem": "\ud835\udc65", "answer": "4"})[0] == "\U0001d465"


def test_question_keeps_its_blanks(tmp_path: Path) -> None:
    assert read(tmp_path, {"problem": " 1+1 \n", "answer": "2"}) == (" 1+1 \n", "2")


def test_chats(tmp_path: Path) -> None:
    chat = {"question_format": "chat"}
    assert read(tmp_path, {"problem": CHAT, "answer": "2"}, **chat) == ("1+1", "2")
    twice = [*CHAT, {"role": "user", "content": "{x}", "name": None}]
    assert read(tmp_path, {"problem": twice, "answer": "2"}, **chat) == ("1+1\n\n{x}", "2")
    for empty in ([], CHAT[:1], None, [{"role": "user", "content": " "}]):
        assert "holds no question" in refusal(tmp_path, {"problem": empty, "answer": "2"}, **chat)


@pytest.mark.parametrize(
    ("value", "question_format", "parts"),
    [
        (CHAT, "text", ["must hold text, found list", "data.question_format=chat"]),
        ("1+1", "chat", ["must hold a chat", "found str '1+1'", "data.question_format=text"]),
        (7, "text", ["must hold text, found int 7", "data.question=COLUMN"]),
        (["1+1"], "text", ["must hold text, found list ['1+1']", "data.question=COLUMN"]),
        ({"role": "user"}, "chat", ["must hold a chat", "found dict", "data.question=COLUMN"]),
        (["1+1"], "chat", ["must hold messages", "found str '1+1'"]),
        ([{"role": "user", "content": ["1"]}], "chat", ["must hold messages", "found dict"]),
        ([{"role": "assistant", "content": "2"}], "chat", ["must hold messages of the user or the system"]),
        ([{"content": "2"}], "chat", ["must hold messages"]),
    ],
)
def test_questions_of_a_wrong_kind(tmp_path: Path, value: object, question_format: str, parts: list[str]) -> None:
    said = refusal(tmp_path, {"problem": value, "answer": "2"}, question_format=question_format)
    for part in [f"{tmp_path}/train.jsonl, line 1: column 'problem'", *parts]:
        assert part in said


def test_wrapping_is_kept_or_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"unwrap": Wrapping("Solve:\n\n", "\n\nBox it.")}
    rows = [{"problem": f"Solve:\n\n {x}\n\nBox it.", "answer": "1"} for x in ("{a}", "{b}")]
    rows += [{"problem": "Solve:\n\nc", "answer": "1"}]
    assert [q.text for q in questions(tmp_path, *rows, **options)] == [row["problem"] for row in rows]
    with caplog.at_level("INFO", logger="gmpo"):
        cut = questions(tmp_path, *rows, **options, instruction="replace")
    said = "1 of 3 rows are not in the wrapping of this data set and stay as they are"
    assert caplog.messages == [f"mine, train: {said} (the first: {tmp_path}/train.jsonl, line 3)"]
    assert [q.text for q in cut] == [" {a}", " {b}", "Solve:\n\nc"]


def test_nothing_within_the_wrapping(tmp_path: Path) -> None:
    options = {"unwrap": Wrapping("Solve: ", " Box it."), "instruction": "replace"}
    said = refusal(tmp_path, {"problem": "Solve:   Box it.", "answer": "1"}, **options)
    assert "line 1: column 'problem' holds no question" in said


def test_levels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    levels = ["Level 3", 3, "3", "Level ?", None, "Level 4", 5, "Level 5", "Level 33"]
    rows = [{"problem": f"{i}", "answer": "1", "level": level} for i, level in enumerate(levels)]
    with caplog.at_level("INFO", logger="gmpo"):
        assert [q.text for q in questions(tmp_path, *rows, levels=[3, 5])] == ["0", "1", "2", "6", "7"]
    said = "mine, train: 4 of 9 rows are not of the levels asked for and are dropped"
    assert caplog.messages == [f"{said} (the first: {tmp_path}/train.jsonl, line 4)"]
    assert len(questions(tmp_path, *rows)) == 9
    assert "none of 9 rows is left; choose other columns or levels" in refusal(tmp_path, *rows, levels=[7])
    renamed = [{"hard": row["level"]} | row for row in rows]
    assert len(questions(tmp_path, *renamed, levels=[4], level="hard")) == 1


def test_rows_of_other_levels_need_no_answer(tmp_path: Path) -> None:
    other = {"problem": "q", "answer": None, "level": "Level 5"}
    assert len(questions(tmp_path, GOOD, other, levels=[1])) == 1


@pytest.mark.parametrize(
    ("value", "level"), [("level 2", 2), (" Level 2 ", 2), (2.0, 2), ("", None), (True, None), ("3 to 5", None)]
)
def test_ways_to_write_a_level(value: object, level: int | None) -> None:
    assert level_of(value) == level


def test_half_a_character_in_an_answer(tmp_path: Path) -> None:
    said = refusal(tmp_path, GOOD, {"problem": "q", "answer": "\ud800"})
    assert f"{tmp_path}/train.jsonl, line 2: column 'answer' holds half a character" in said
