import logging
import re

import pytest

from gmpo.data import ArithmeticDataset
from gmpo.data.arithmetic import Problem, make_distinct_problems, make_problems, split_of

KINDS = ["2+2", "3+2", "3-2", "2-3", "2*1", "4+4", "1-1", "3*1"]
SYMBOLS = {"plus": "+", "minus": "-", "times": "*"}
SEEDS = [0, 1]


def parse(question: str) -> tuple[int, str, int]:
    """The operands and the operation of a question, written by symbol or by word."""
    match = re.fullmatch(r"(\d+)([-+*]| plus | minus | times )(\d+)", question)
    assert match, question
    return int(match[1]), SYMBOLS.get(match[2].strip(), match[2]), int(match[3])


def operands(problem: Problem) -> tuple[str, frozenset[int]]:
    a, operation, b = parse(problem.question)
    return operation, frozenset((a, b))


def value(expression: str) -> int:
    """A sum, difference or product of one-digit and longer numbers, by Python itself."""
    assert re.fullmatch(r"\d+([-+*]\d+)*", expression), expression
    return eval(expression)


def test_splits_share_no_operands_whatever_the_seeds() -> None:
    train = {operands(p) for seed in SEEDS for p in make_problems(KINDS, 4000, "train", seed)}
    validation = {operands(p) for seed in SEEDS for p in make_problems(KINDS, 1000, "validation", seed)}
    assert len(train) > 1000
    assert len(validation) > 100
    assert not train & validation


def test_the_order_of_operands_does_not_change_the_split() -> None:
    assert all(split_of(a, "+", b) == split_of(b, "+", a) for a in range(60) for b in range(60))


def test_about_a_tenth_is_validation() -> None:
    splits = [split_of(a, "+", b) for a in range(100) for b in range(a, 100)]
    assert 0.08 < splits.count("validation") / len(splits) < 0.12


@pytest.mark.parametrize("split", ["train", "validation"])
def test_seed_decides_the_problems(split: str) -> None:
    problems = make_problems(KINDS, 100, split, 3)
    assert len(problems) == 100
    assert make_problems(KINDS, 100, split, 3) == problems
    assert make_problems(KINDS, 50, split, 3) == problems[:50]
    assert make_problems(KINDS, 100, split, 4) != problems


@pytest.mark.parametrize("kind", KINDS)
def test_answers_and_worked_columns_are_true(kind: str) -> None:
    for problem in make_problems([kind], 500, "train", 0):
        a, operation, b = parse(problem.question)
        assert int(problem.answer) == value(f"{a}{operation}{b}") >= 0
        columns, _, answer = problem.worked.rpartition(" = ")
        assert answer == problem.answer
        totals = []
        for column in columns.split(" "):
            left, _, right = column.partition("=")
            assert value(left) == int(right), problem
            totals.append(int(right))
        assert int("".join(str(t % 10) for t in reversed(totals))) == int(problem.answer) % 10 ** len(totals)


@pytest.mark.parametrize("kind", KINDS)
def test_operands_have_the_digits_of_their_kind(kind: str) -> None:
    digits = sorted((int(kind[0]), int(kind[2])))
    for problem in make_problems([kind], 300, "train", 0):
        a, _, b = parse(problem.question)
        assert sorted((len(str(a)), len(str(b)))) == digits


def test_all_kinds_and_both_wordings_occur() -> None:
    kinds = ["2+2", "3+2", "3-2", "2*1"]
    questions = [p.question for p in make_problems(kinds, 400, "train", 0)]
    parsed = [parse(q) for q in questions]
    assert {f"{len(str(a))}{operation}{len(str(b))}" for a, operation, b in parsed} == set(kinds)
    for word, symbol in SYMBOLS.items():
        assert any(f" {word} " in q for q in questions)
        assert any(symbol in q for q in questions)


@pytest.mark.parametrize("kind", ["", "2", "+2", "2+", "0+2", "10+2", "2/1", "2*2", "2 + 2", "a+b", "2+2+2"])
def test_bad_kinds_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"data\.kinds") as error:
        make_problems(["2+2", kind], 10, "train", 0)
    assert repr(kind) in str(error.value)
    assert "such as 3+3" in str(error.value)


def test_no_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.kinds is empty.*such as 3\+3"):
        make_problems([], 10, "train", 0)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_problems_of_the_data_set_are_distinct(split: str) -> None:
    """Of 256 that are drawn 5 stood twice, of 20,000 for training 1,668."""
    dataset = ArithmeticDataset(["2+2", "3+2", "3-2"], train_size=20000, validation_size=256, seed=1)
    questions = dataset.questions(split)  # type: ignore[arg-type]
    assert (
        len({question.text for question in questions}) == len(questions) == {"train": 20000, "validation": 256}[split]
    )
    drawn = [problem.question for problem in make_problems(dataset.kinds, 20000, split, 1)]  # type: ignore[arg-type]
    assert [question.text for question in questions[:100]] == [*dict.fromkeys(drawn)][:100], "in the order of drawing"


def test_kinds_of_few_problems_give_what_there_are(caplog: pytest.LogCaptureFixture) -> None:
    every = {f"{a}{sign}{b}" for a in range(10) for b in range(10) for sign in ("+", " plus ")}
    dataset = ArithmeticDataset(["1+1"], train_size=1000, validation_size=1000)
    with caplog.at_level(logging.INFO, logger="gmpo"):
        train, validation = ({q.text for q in dataset.questions(split)} for split in ("train", "validation"))  # type: ignore[arg-type]
    assert train | validation == every
    assert not train & validation
    assert caplog.messages == [
        f"arithmetic, {split}: there are {len(found)} different problems of the kinds 1+1, not 1000"
        for split, found in (("train", train), ("validation", validation))
    ]


def test_no_problem_where_none_is_asked_for() -> None:
    assert ArithmeticDataset(["1+1"], 0, 1).questions("train") == []
    assert make_distinct_problems(["1+1"], 0, "train", 0) == []
