"""Equivalence of two answers by math-verify, with numbers compared exactly.

It parses and computes, which may take any amount of time and memory, so it runs in a worker process.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial

from math_verify import verify
from sympy import E, Eq, Expr, FiniteSet, Interval, MatrixBase, MatrixExpr, Set, Symbol, Tuple, oo, pi, zoo
from sympy.core.function import AppliedUndef

from gmpo.verifier.constants import is_constant, same_constant, with_combinations, with_imaginary_unit
from gmpo.verifier.families import read_family, same_family
from gmpo.verifier.functions import same_function
from gmpo.verifier.notation import ParsedAnswer
from gmpo.verifier.numbers import decimal_places
from gmpo.verifier.parsing import Parsed, is_pair, parsed, prepared
from gmpo.verifier.ratios import read_ratio, same_ratio
from gmpo.verifier.relations import is_assignment, is_relation, is_solved, same_equation, solutions
from gmpo.verifier.sentences import bare, same_sentence
from gmpo.verifier.words import TELLING

CLOSED_INFINITY = re.compile(r"\\infty\s*\]|\[\s*-\s*\\infty")
INFINITE = (oo, -oo)
NO_NUMBER = (Set, MatrixBase, MatrixExpr)


def equivalent(answer: ParsedAnswer, gold: ParsedAnswer) -> bool:
    """Return whether the answer means the same as the gold answer; may raise whatever a parser raises."""
    same = partial(same_meaning, places=None)
    family, gold_family = read_family(answer.text), read_family(gold.text)
    if family and gold_family and (verdict := same_family(family, gold_family, same)) is not None:
        return verdict
    texts = (
        prepared(family.members if family else answer.text),
        prepared(gold_family.members if gold_family else gold.text),
    )
    if bare(answer.text) == bare(gold.text):
        return True
    if any(TELLING.search(text) or "\\begin{cases" in text for text in texts):
        return same_sentence(answer.text, gold.text, same_texts)
    if same_texts(*texts):
        return True
    a, b = map(parsed, texts)
    if a is None or b is None:
        return False
    return any(same(*pair) for pair in _other_measures(*_without_assignment(a, b), answer, gold))


def same_texts(text: str, gold: str) -> bool:
    """Return whether two formulas mean the same; they must have no units and be prepared for the parser."""
    places = [p for p in map(decimal_places, (text, gold)) if p is not None]
    same = partial(same_meaning, places=min(places, default=None))
    ratio, gold_ratio = read_ratio(text), read_ratio(gold)
    if (ratio and gold_ratio) or max(len(ratio), len(gold_ratio)) > 2:
        return same_ratio(ratio, gold_ratio, same)
    a, b = parsed(text), parsed(gold)
    if a is None or b is None:
        return False
    if sorted(t[:2] == "\\{" for t in (text, gold)) == [False, True] and any(map(is_pair, (text, gold))):
        return False  # {1, 2} is a set and (1, 2) a pair; math-verify does not distinguish them
    if len(set(map(bool, map(CLOSED_INFINITY.search, (text, gold))))) > 1:
        return False  # the parser opens [0, infinity]
    return same(a, b)


def same_meaning(a: Parsed, b: Parsed, places: int | None) -> bool:
    """Return whether parsed answer `a` means the same as parsed gold answer `b`.

    places: the fewest digits after the point of their decimals, None where all numbers are exact.
    """
    a, b = _without_assignment(a, b)
    a, b = _assigned_tuple(a, b), _assigned_tuple(b, a)
    if type(a) is type(b) and a == b:
        return not a.has(zoo)  # neither 1/0 nor 2/0 is a number
    if a in INFINITE or b in INFINITE:
        return False  # a limit still has to be evaluated
    a = with_combinations(a) if is_constant(b) else a
    if is_constant(a) and is_constant(b):
        return same_constant(with_imaginary_unit(a), with_imaginary_unit(b), places)
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
        if all(isinstance(e, FiniteSet) or is_constant(e) for e in (a, b)):
            return True  # in any order; math-verify decides whether a list may be a pair
    elif any(isinstance(e, NO_NUMBER) and is_constant(other) for e, other in ((a, b), (b, a))):
        return False
    if (known := _same_relation(a, b, places)) is not None:
        return known
    if isinstance(a, Expr) and isinstance(b, Expr) and (known := same_function(a, b, places)) is not None:
        return known
    if any(isinstance(e, Symbol) for e in (a, b)):
        return _name(a) == _name(b) is not None
    return verify(b, a, timeout_seconds=None)


def _same_relation(a: Parsed, b: Parsed, places: int | None) -> bool | None:
    """Compare two answers of which at least one is an equation or inequality; return None to leave it to math-verify.

    An answer that still has to be solved is not the solution.
    """
    relation, gold_relation = is_relation(a), is_relation(b)
    if isinstance(b, Eq) and b.free_symbols and not is_assignment(b) and not isinstance(a, Eq):
        return False  # x + y = 6 is not 6
    if isinstance(a, Eq) and isinstance(b, Eq):
        if is_assignment(a) and is_assignment(b) and a.lhs == b.lhs:
            return None
        return same_equation(a, b, partial(same_meaning, places=places))
    if relation and isinstance(b, Set):
        described = solutions(a)
        if described is None:
            return None if isinstance(a, Eq) else False
        return same_meaning(described, b, places)
    if relation and gold_relation and is_solved(b):
        if not is_solved(a) or a.free_symbols != b.free_symbols:
            return False
        described, gold = solutions(a), solutions(b)
        return None if described is None or gold is None else same_meaning(described, gold, places)
    return None


def _name(e: Parsed) -> str | None:
    """Return the name of a symbol; Euler's e counts as one."""
    return "e" if e == E else e.name if isinstance(e, Symbol) else None


def _without_assignment(a: Parsed, b: Parsed) -> tuple[Parsed, Parsed]:
    """Return 5 for x = 5, unless the other answer names another variable."""
    a_assigns, b_assigns = is_assignment(a), is_assignment(b)
    if a_assigns and b_assigns:
        return (a.rhs, b.rhs) if a.lhs == b.lhs else (a, b)
    if a_assigns and not is_relation(b):
        return a.rhs, b
    if b_assigns and not is_relation(a):
        return a, b.rhs
    return a, b


def _as_tuple(e: Parsed) -> Tuple | None:
    """Return a tuple for a tuple, or for anything that may mean a pair."""
    if isinstance(e, Interval):
        return Tuple(e.start, e.end) if e.left_open and e.right_open else None
    return e if isinstance(e, Tuple) else None


def _assigned_tuple(e: Parsed, other: Parsed) -> Parsed:
    """Return (1, 2) for x = 1, y = 2 (variables in alphabetical order) and for P(1, 2), where the other answer is a
    tuple.
    """
    if _as_tuple(other) is None:
        return e
    if isinstance(e, AppliedUndef) and len(e.args) > 1:
        return Tuple(*e.args)
    if not (isinstance(e, FiniteSet) and all(isinstance(m, Eq) and isinstance(m.lhs, Symbol) for m in e.args)):
        return e
    values = {str(m.lhs): m.rhs for m in e.args}
    return Tuple(*(values[name] for name in sorted(values)))


def _members(e: Parsed) -> Sequence[Parsed] | None:
    """Return the members of a finite set or a tuple, or a number alone."""
    if is_constant(e):
        return (e,)
    return e.args if isinstance(e, FiniteSet) else _as_tuple(e)


def _same_members(a: Sequence[Parsed], b: Sequence[Parsed], places: int | None) -> bool:
    """Return whether the members of two sets can be paired one to one."""
    left = list(b)
    for member in a:
        alike = (i for i, other in enumerate(left) if isinstance(other, Set) == isinstance(member, Set))
        at = next((i for i in alike if same_meaning(member, left[i], places)), None)
        if at is None:
            return False
        del left[at]
    return not left


def _other_measures(a: Parsed, b: Parsed, answer: ParsedAnswer, gold: ParsedAnswer) -> Iterator[tuple[Parsed, Parsed]]:
    """Yield the other readings of a measure: 50% is 0.5 as well as 50, 90 degrees are pi/2 as well as 90."""
    if not (isinstance(a, Expr) and isinstance(b, Expr)):
        return
    if answer.percent != gold.percent:
        yield (a / 100, b) if answer.percent else (a, b / 100)
    if answer.unit == "degree" and gold.unit is None and "\\pi" in gold.text:
        yield a * pi / 180, b
    if gold.unit == "degree" and answer.unit is None and "\\pi" in answer.text:
        yield a, b * pi / 180
