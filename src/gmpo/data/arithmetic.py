"""Arithmetic problems generated from a seed: several operations and operand sizes, in symbols and words."""

import random
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

Split = Literal["train", "validation"]

FORMS = {
    "+": ("{a}+{b}", "{a} plus {b}"),
    "-": ("{a}-{b}", "{a} minus {b}"),
    "*": ("{a}*{b}", "{a} times {b}"),
}
VALIDATION_SHARE = 10  # one of this many pairs of operands is kept for validation
GIVE_UP = 20  # repeats in a row for each existing problem, after which there are no more


@dataclass(frozen=True)
class Problem:
    """A question, its answer, and the answer worked out column by column."""

    question: str
    answer: str
    worked: str


def make_problems(kinds: Sequence[str], count: int, split: Split, seed: int) -> list[Problem]:
    """Return `count` problems of one split, deterministic in the arguments.

    kinds: such as "3+2", a number of 3 digits plus one of 2; "-" as well, and "*" by a number of one digit.
    The operands decide the split, whatever the seed, their order or the wording: train and validation never
    share a problem.
    """
    return list(islice(_drawn(kinds, split, seed), count))


def make_distinct_problems(kinds: Sequence[str], count: int, split: Split, seed: int) -> list[Problem]:
    """Return `count` problems as `make_problems` draws them, each wording of each pair of operands once.

    Returns fewer where nothing new is drawn for long: few numbers have one digit.
    """
    problems: dict[str, Problem] = {}
    repeated = 0
    for problem in _drawn(kinds, split, seed) if count else ():
        repeated = repeated + 1 if problem.question in problems else 0
        problems.setdefault(problem.question, problem)
        if len(problems) == count or repeated == GIVE_UP * (len(problems) + 1):
            break
    return list(problems.values())


def _drawn(kinds: Sequence[str], split: Split, seed: int) -> Iterator[Problem]:
    parsed = [_parse(kind) for kind in kinds]
    if not parsed:
        raise ValueError("data.kinds is empty: name at least one kind of problem, such as 3+3")
    rng = random.Random(f"{split}/{seed}")
    while True:
        left_digits, operation, right_digits = rng.choice(parsed)
        a, b = _number(rng, left_digits), _number(rng, right_digits)
        if operation == "-":
            a, b = max(a, b), min(a, b)
        question = rng.choice(FORMS[operation]).format(a=a, b=b)
        if split_of(a, operation, b) == split:
            yield _solve(question, a, operation, b)


def split_of(a: int, operation: str, b: int) -> Split:
    """Return the split that a pair of operands belongs to, in either order."""
    key = f"{min(a, b)}{operation}{max(a, b)}".encode()
    return "validation" if zlib.crc32(key) % VALIDATION_SHARE == 0 else "train"


def _number(rng: random.Random, digits: int) -> int:
    return rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def _solve(question: str, a: int, operation: str, b: int) -> Problem:
    columns, answer = {"+": _add, "-": _subtract, "*": _multiply}[operation](a, b)
    return Problem(question, str(answer), f"{' '.join(columns)} = {answer}")


def _columns(a: int, b: int) -> list[tuple[int, int]]:
    width = max(len(str(a)), len(str(b)))
    return [(a // 10**i % 10, b // 10**i % 10) for i in range(width)]


def _add(a: int, b: int) -> tuple[list[str], int]:
    columns, carry = [], 0
    for x, y in _columns(a, b):
        total = x + y + carry
        columns.append(f"{x}+{y}{_carried(carry)}={total}")
        carry = total // 10
    return columns, a + b


def _subtract(a: int, b: int) -> tuple[list[str], int]:
    columns, borrow = [], 0
    for x, y in _columns(a, b):
        x -= borrow
        borrow = int(x < y)
        x += 10 * borrow
        columns.append(f"{x}-{y}={x - y}")
    return columns, a - b


def _multiply(a: int, b: int) -> tuple[list[str], int]:
    columns, carry = [], 0
    for digit in reversed(str(a)):
        total = int(digit) * b + carry
        columns.append(f"{digit}*{b}{_carried(carry)}={total}")
        carry = total // 10
    return columns, a * b


def _carried(carry: int) -> str:
    return f"+{carry}" if carry else ""


def _parse(kind: str) -> tuple[int, str, int]:
    match = re.fullmatch(r"([1-9])([-+*])([1-9])", str(kind))
    if match is None or (match[2] == "*" and match[3] != "1"):
        raise ValueError(
            f"{kind!r} in data.kinds is not a kind of problem: write digits, one of + - *, digits, such as 3+3; "
            "multiplication is by one digit, such as 2*1"
        )
    return int(match[1]), match[2], int(match[3])
