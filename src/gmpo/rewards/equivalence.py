"""Whether two answers mean the same: math-verify's judgement, with its numbers compared exactly.

It parses and computes, so it may take any time and any memory: it runs in a worker process.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial

from math_verify import verify
from sympy import (
    Eq,
    Expr,
    FiniteSet,
    Float,
    I,
    Integer,
    Interval,
    MatrixBase,
    MatrixExpr,
    N,
    Rational,
    Set,
    Symbol,
    Tuple,
    expand,
    pi,
    zoo,
)
from sympy.core.relational import Relational

from gmpo.rewards.notation import Written
from gmpo.rewards.numbers import TOLERANCE, decimal_places
from gmpo.rewards.parsing import Parsed, is_pair, parsed, prepared
from gmpo.rewards.ratios import read_ratio, same_ratio
from gmpo.rewards.words import TELLING, bare

DIGITS = 60  # to which exact numbers are evaluated
EXACTLY = Fraction(1, 10**50)  # relative, of exact numbers so evaluated
VANISHING = 500  # a difference without a digit among so many is 0
NO_NUMBER = (Set, MatrixBase, MatrixExpr)
PROBES = (Rational(7, 11), Rational(29, 13), Rational(101, 17))  # values of the first variable, all positive


def equivalent(answer: Written, gold: Written) -> bool:
    """Whether the answer means the same as the gold answer; it may raise whatever a parser raises."""
    texts = prepared(answer.text), prepared(gold.text)
    if any(map(TELLING.search, texts)):
        return bare(answer.text) == bare(gold.text)
    places = [p for p in map(decimal_places, texts) if p is not None]
    same = partial(same_meaning, places=min(places, default=None))
    ratio, gold_ratio = map(read_ratio, texts)
    if (ratio and gold_ratio) or max(len(ratio), len(gold_ratio)) > 2:
        return same_ratio(ratio, gold_ratio, same)
    a, b = map(parsed, texts)
    if a is None or b is None:
        return bare(answer.text) == bare(gold.text)
    if sorted(text[:2] == "\\{" for text in texts) == [False, True] and any(map(is_pair, texts)):
        return False  # {1, 2} is a set and (1, 2) a pair; math-verify takes one for the other
    return same(a, b) or any(same(*pair) for pair in _other_measures(*_without_assignment(a, b), answer, gold))


def same_meaning(a: Parsed, b: Parsed, places: int | None) -> bool:
    """Whether answer `a` means the same as gold answer `b`.

    places: the fewest digits after the point of their decimals, None where all numbers are exact.
    """
    a, b = _without_assignment(a, b)
    a, b = _assigned_tuple(a, b), _assigned_tuple(b, a)
    if type(a) is type(b) and a == b:
        return not a.has(zoo)  # 1/0 is no number, nor is 2/0
    if _is_constant(a) and _is_constant(b):
        return same_constant(_with_imaginary_unit(a), _with_imaginary_unit(b), places)
    same = partial(same_meaning, places=places)
    if isinstance(a, MatrixBase) and isinstance(b, MatrixBase):
        return a.shape == b.shape and all(map(same, a.flat(), b.flat()))
    if isinstance(a, Interval) and isinstance(b, Interval):
        ends = (a.left_open, a.right_open) == (b.left_open, b.right_open)
        return ends and same(a.start, b.start) and same(a.end, b.end)
    x, y = _as_tuple(a), _as_tuple(b)
    if x is not None and y is not None:
        return len(x) == len(y) and all(map(same, x, y))
    members, gold_members = _members(a), _members(b)
    if members is not None and gold_members is not None:
        if not _same_members(members, gold_members, places):
            return False
        if all(isinstance(e, FiniteSet) or _is_constant(e) for e in (a, b)):
            return True  # in any order; whether a list may stand for a pair, math-verify decides
    elif any(isinstance(e, NO_NUMBER) and _is_constant(other) for e, other in ((a, b), (b, a))):
        return False
    known = _same_function(a, b, places)
    if known is not None:
        return known
    return verify(b, a, allow_set_relation_comp=True, timeout_seconds=None)


def same_constant(a: Expr, b: Expr, places: int | None) -> bool:
    """Exact constants are equal exactly (irrational ones to 500 digits); decimals as `numbers.within_rounding`."""
    x, y = N(a, DIGITS), N(b, DIGITS)
    if not (x.is_finite and y.is_finite):
        return bool(x == y and x.is_extended_real)  # 6:00 is no number, nor is 7:00
    if places is not None or a.has(Float) or b.has(Float):
        integer = a.is_integer or b.is_integer
        absolute = [*([] if places is None else [1.001 * 10.0**-places]), *([float(TOLERANCE)] if integer else [])]
        return _close(x, y, TOLERANCE) and all(abs(x - y) <= limit for limit in absolute)
    if not _close(x, y, EXACTLY):
        return False
    difference = (a - b).doit()
    if isinstance(difference, Rational):
        return difference == 0
    rest = N(difference, 10, maxn=VANISHING)
    return all(part == 0 or getattr(part, "_prec", 1) == 1 for part in rest.as_real_imag())


def _close(x: Expr, y: Expr, tolerance: Fraction) -> bool:
    return bool(abs(x - y) <= Rational(tolerance.numerator, tolerance.denominator) * max(abs(x), abs(y)))


def _is_constant(e: Parsed) -> bool:
    return isinstance(e, Expr) and bool(_with_imaginary_unit(e).is_number)


def _with_imaginary_unit(e: Expr) -> Expr:
    """The letter i, alone among numbers, is no variable."""
    symbols = list(e.free_symbols)
    return e.subs(symbols[0], I) if [symbol.name for symbol in symbols] == ["i"] else e


def _without_assignment(a: Parsed, b: Parsed) -> tuple[Parsed, Parsed]:
    """x = 5 means 5, unless the other names another variable."""
    a_assigns, b_assigns = (isinstance(e, Eq) and isinstance(e.lhs, Symbol) for e in (a, b))
    if a_assigns and b_assigns:
        return (a.rhs, b.rhs) if a.lhs == b.lhs else (a, b)
    if a_assigns and not isinstance(b, Relational):
        return a.rhs, b
    if b_assigns and not isinstance(a, Relational):
        return a, b.rhs
    return a, b


def _as_tuple(e: Parsed) -> Tuple | None:
    """A tuple, or what may be meant as a pair."""
    if isinstance(e, Interval):
        return Tuple(e.start, e.end) if e.left_open and e.right_open else None
    return e if isinstance(e, Tuple) else None


def _assigned_tuple(e: Parsed, other: Parsed) -> Parsed:
    """x = 1, y = 2 as (1, 2), beside a tuple; the variables stand in the order of the alphabet."""
    assigned = isinstance(e, FiniteSet) and all(isinstance(m, Eq) and isinstance(m.lhs, Symbol) for m in e.args)
    if not assigned or _as_tuple(other) is None:
        return e
    values = {str(m.lhs): m.rhs for m in e.args}
    return Tuple(*(values[name] for name in sorted(values)))


def _members(e: Parsed) -> Sequence[Parsed] | None:
    """Of a finite set, a tuple, or a number alone."""
    if _is_constant(e):
        return (e,)
    return e.args if isinstance(e, FiniteSet) else _as_tuple(e)


def _same_members(a: Sequence[Parsed], b: Sequence[Parsed], places: int | None) -> bool:
    """Whether each member of one has its own counterpart in the other."""
    left = list(b)
    for member in a:
        at = next((i for i, other in enumerate(left) if same_meaning(member, other, places)), None)
        if at is None:
            return False
        del left[at]
    return not left


def _same_function(a: Parsed, b: Parsed, places: int | None) -> bool | None:
    """Whether two expressions in the same variables are the same; None where their values and expansion do not tell.

    Quicker than to simplify their difference, and no small difference is overlooked.
    """
    if not (isinstance(a, Expr) and isinstance(b, Expr) and a.free_symbols == b.free_symbols):
        return None
    symbols = sorted(a.free_symbols, key=str)
    for probe in PROBES:
        at = {symbol: probe + place for place, symbol in enumerate(symbols)}
        x, y = N(a.subs(at), DIGITS), N(b.subs(at), DIGITS)
        if x.is_finite and y.is_finite and not _close(x, y, EXACTLY if places is None else TOLERANCE):
            return False
    difference = expand(a - b)
    return same_constant(difference + 1, Integer(1), places) if difference.is_number else None


def _other_measures(a: Parsed, b: Parsed, answer: Written, gold: Written) -> Iterator[tuple[Parsed, Parsed]]:
    """50% is 0.5 as well as 50, and 90 degrees are pi/2 as well as 90."""
    if not (isinstance(a, Expr) and isinstance(b, Expr)):
        return
    if answer.percent != gold.percent:
        yield (a / 100, b) if answer.percent else (a, b / 100)
    if answer.unit == "degree" and gold.unit is None and "\\pi" in gold.text:
        yield a * pi / 180, b
    if gold.unit == "degree" and answer.unit is None and "\\pi" in answer.text:
        yield a, b * pi / 180
