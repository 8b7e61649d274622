"""What is made of a row: the question, the answer, the level, and which error where there is none."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmpo.data import ProblemDataset, Wrapping
from gmpo.data.answers import number_text
from gmpo.data.rows import level_of
from gmpo.data.selection import Question

GOOD = {"problem": "good", "answer": "0", "level": "Level 1"}
CHAT = [{"role": "system", "content": "Think."}, {"role": "user", "content": "1+1"}]


def questions(folder: Path, *rows: object, **options: object) -> list[Question]:
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ProblemDataset("mine", path=str(path), **options).questions("train")  # type: ignore[arg-type]


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
    assert message.endswith("fix the row, or leave such rows out by data.empty_answers=drop")
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


def test_rows_in_verl_s_format_are_recognised(tmp_path: Path) -> None:
    row = {"data_source": "x", "prompt": CHAT, "reward_model": {"ground_truth": "2"}}
    said = refusal(tmp_path, row)
    assert "found columns 'data_source', 'prompt', 'reward_model' (verl's format: data=verl reads it). Choose " in said


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


LOST = [  # what JSON and Python make of one backslash, and the command that was meant
    ("\frac{1}{2}", "frac"),
    ("x=\frac12", "frac"),
    ("\boxed{4}", "boxed"),
    ("3\text{ cm}", "text"),
    ("\text{Blue}", "text"),
    ("0\rightarrow 1", "rightarrow"),
    ("2\theta", "theta"),
    ("\binom{4}{2}", "binom"),
    ("\vec{v}", "vec"),
    ("\alpha", "alpha"),
    ("x\neq 3", "neq"),
    ("x\ne 3", "ne"),
    ("1\notin A", "notin"),
]


@pytest.mark.parametrize(("answer", "command"), LOST)
def test_answers_that_lost_a_backslash(tmp_path: Path, answer: str, command: str) -> None:
    said = refusal(tmp_path, GOOD, {"problem": "q", "answer": answer}, empty_answers="drop")
    assert (
        f"{tmp_path}/train.jsonl, line 2: column 'answer' holds {answer.strip(' ')!r}, where \\{command} has " in said
    )
    assert f"write it with two in JSON, as \\\\{command}" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "answer", [" 4\t", "4\r\n", "a\r\nb", "\n4", "\t4", "x\n e", "no\nyes", "\\frac{1}{2}", "1\n2\n3"]
)
def test_blanks_of_answers_that_lost_nothing(tmp_path: Path, answer: str) -> None:
    assert read(tmp_path, {"problem": "q", "answer": answer})[1] == answer.strip()


@pytest.mark.parametrize(
    ("result", "solution", "command"),
    [
        ("boxed", "So\tit is \\boxed{\frac{1}{2}}.", "frac"),
        ("boxed", "It is \boxed{4}.", "boxed"),
        ("after_hashes", "\tSo\n#### \frac{1}{2}", "frac"),
    ],
)
def test_solutions_that_lost_a_backslash(tmp_path: Path, result: str, solution: str, command: str) -> None:
    """In the answer: a tab in the text before it is nobody's concern."""
    said = refusal(tmp_path, {"problem": "q", "answer": solution}, result=result, empty_answers="drop")
    assert f"where \\{command} has lost its backslash" in said
    assert read(tmp_path, {"problem": "q", "answer": "\tSo\r\n\tit is \\boxed{4}\n#### 4"}, result=result)[1] == "4"


def json_row(folder: Path, name: str, number: str) -> Path:
    row = f'{{"problem": "q", "answer": {number}}}'
    path = folder / name
    path.write_text(row if name.endswith("l") else f"[{row}]")
    return path


@pytest.mark.parametrize("name", ["train.jsonl", "train.json"])
@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("12345678901234567890.0", "12345678901234567890"),
        ("0.30000000000000000000000000000000000001", "0.30000000000000000000000000000000000001"),
        ("-0.10", "-0.1"),
        ("1E2", "100"),
        ("1e-2", "0.01"),
        ("-0.0", "0"),
        ("0.000", "0"),
        ("100.0", "100"),
        ("1e400", "1" + "0" * 400),
        ("12345678901234567890123", "12345678901234567890123"),
    ],
)
def test_numbers_of_json_stay_exact(tmp_path: Path, name: str, number: str, answer: str) -> None:
    (question,) = ProblemDataset("mine", path=str(json_row(tmp_path, name, number))).questions("train")
    assert question.answer == answer


@pytest.mark.parametrize("number", ["1e9999999", "1e-9999999", "-1E5000", "1e99999999999999999999"])
def test_numbers_of_too_many_digits(tmp_path: Path, number: str) -> None:
    """Written out they would fill the memory."""
    dataset = ProblemDataset("mine", path=str(json_row(tmp_path, "train.jsonl", number)))
    with pytest.raises(ValueError, match=rf"train\.jsonl, line 1.*({number}|digits|JSON)"):
        dataset.questions("train")


def test_a_list_of_which_one_is_taken_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"problem": f"{i}", "answer": answer} for i, answer in enumerate(("3", ["3"], ["3", "5"], ["4", "x"], [7]))]
    with caplog.at_level("INFO", logger="gmpo"):
        found = questions(tmp_path, *rows, answer="answer.0")
    assert [question.answer for question in found] == ["3", "3", "3", "4", "7"]
    assert caplog.messages == [
        "mine, train: 2 of 5 rows have a list of answers, of which the one in 'answer.0' is taken: right only where "
        f"they are alternatives (the first: {tmp_path}/train.jsonl, line 3)"
    ]


KINDS = [
    {"problem": "a", "answer": "proof", "kind": "open", "meta": {"type": 1}},
    {"problem": "b", "answer": " proof\n", "kind": "closed", "meta": {"type": 2.0}},
    {"problem": "c", "answer": "notfound", "kind": None, "meta": {"type": "2"}},
    {"problem": "d", "answer": "4", "kind": True, "meta": {"type": None}},
]


@pytest.mark.parametrize(
    ("leave_out", "left"),
    [
        ({"answer": ["proof", "notfound"]}, "d"),
        ({"answer": "proof"}, "cd"),
        ({"answer": ["Proof", "proofs"]}, "abcd"),
        ({"kind": [None]}, "abd"),
        ({"kind": [None, True]}, "ab"),
        ({"kind": "true", "answer": ["notfound"]}, "ab"),
        ({"meta.type": [2]}, "ad"),
        ({"meta.type": ["2", 1]}, "d"),
        ({}, "abcd"),
        (None, "abcd"),
    ],
)
def test_rows_are_left_out_by_value(tmp_path: Path, leave_out: object, left: str) -> None:
    assert "".join(question.text for question in questions(tmp_path, *KINDS, leave_out=leave_out)) == left


def test_rows_that_are_left_out_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="gmpo"):
        questions(tmp_path, *KINDS, leave_out={"answer": ["proof", "notfound", "prof"]})
    path = f"{tmp_path}/train.jsonl"
    assert caplog.messages == [
        f"mine, train: 2 of 4 rows have proof in column 'answer' and are left out (the first: {path}, line 1)",
        f"mine, train: 1 of 4 rows have notfound in column 'answer' and are left out (the first: {path}, line 3)",
        "mine, train: no row has prof in column 'answer' (data.leave_out)",
    ]


def test_rows_that_are_left_out_need_nothing_else(tmp_path: Path) -> None:
    rows = [{"problem": None, "answer": None, "kind": "open"}, GOOD | {"kind": "closed"}]
    assert len(questions(tmp_path, *rows, leave_out={"kind": ["open"]})) == 1


def test_what_cannot_be_left_out(tmp_path: Path) -> None:
    said = refusal(tmp_path, GOOD, leave_out={"kind": ["open"]})
    assert "line 1 lacks column 'kind'; found columns 'problem', 'answer', 'level'" in said
    assert said.endswith("Choose one by data.leave_out={COLUMN: VALUES}")
    said = refusal(tmp_path, GOOD, leave_out=["proof"])
    assert "data.leave_out=['proof'] must name a column and values, such as {answer: [proof, notfound]}" in said
    assert "none of 1 rows is left" in refusal(tmp_path, GOOD, leave_out={"answer": ["0"]})
