"""Equations and inequalities: tests for solved ones and for equivalent ones."""

from collections.abc import Callable

from sympy import And, Basic, Derivative, Eq, Expr, FiniteSet, Mul, Ne, Pow, Rational, S, Set, Symbol
from sympy.core.function import AppliedUndef, Function
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean

POINTS = (Rational(17, 11), Rational(23, 7), Rational(-31, 13))  # values of the first variable, for finding a factor


def is_relation(e: Basic) -> bool:
    """Return whether `e` is an equation, an inequality, or several of them."""
    return isinstance(e, Boolean) and not isinstance(e, Symbol)  # for sympy a symbol may be a truth value


def is_solved(e: Basic) -> bool:
    """Return whether a relation has one variable alone on a side, with a constant on the other, or between two."""
    links = e.args if isinstance(e, And) else (e,)
    if len(e.free_symbols) != 1 or not all(isinstance(link, Relational) for link in links):
        return False
    return all(
        any(isinstance(x, Symbol | AppliedUndef) and not y.free_symbols for x, y in (link.args, link.args[::-1]))
        for link in links
    )


def solutions(e: Basic) -> Set | None:
    """Return the set that a solved relation describes; None for any other."""
    if not is_solved(e) or e.has(AppliedUndef):
        return None
    if isinstance(e, Eq | Ne):
        value = e.lhs if isinstance(e.rhs, Symbol) else e.rhs
        described = value if isinstance(value, Set) else FiniteSet(value)
        return described if isinstance(e, Eq) else S.Reals - described
    return e.as_set()


def is_assignment(e: Basic) -> bool:
    """Return whether an equation assigns a constant to a name, a function or a segment (sin A, AB)."""
    left = e.lhs if isinstance(e, Eq) else None
    if isinstance(left, Pow) and isinstance(left.base, AppliedUndef):
        left = left.base  # an inverse function is written as a power
    if isinstance(left, Symbol | AppliedUndef | Derivative):
        return True
    return isinstance(e, Eq) and not e.rhs.free_symbols and (isinstance(left, Function) or _is_segment(left))


def _is_segment(e: Basic | None) -> bool:
    """Return whether a product is the name of a segment or an angle: capital letters."""
    if not isinstance(e, Mul) or not all(isinstance(point, Symbol) for point in e.args):
        return False
    names = {point.name for point in e.args}
    return "angle" in names or all(map(str.isupper, names))


def same_equation(a: Eq, b: Eq, same: Callable[[Expr, Expr], bool]) -> bool:
    """Return whether equation `a` is gold equation `b` times a constant. Nothing is solved: x = 2 is not x + 1 = 3."""
    if is_solved(b) != is_solved(a) or a.free_symbols != b.free_symbols:
        return False
    x, y = a.lhs - a.rhs, b.lhs - b.rhs
    for first in POINTS:
        at = {symbol: first + place for place, symbol in enumerate(sorted(b.free_symbols, key=str))}
        factor, gold_factor = x.subs(at), y.subs(at)
        if all(f.is_finite and abs(f.n(10)) > Rational(1, 10**6) for f in (factor, gold_factor)):
            return same(x * gold_factor, y * factor)
    return False
