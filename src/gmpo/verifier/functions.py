"""Comparison of expressions in variables, by their values at points of both signs and by their difference."""

from collections.abc import Iterator
from itertools import islice, product

from sympy import Dummy, Expr, I, Integer, N, Pow, Rational, Symbol, expand, log, simplify

from gmpo.verifier.constants import DIGITS, EXACTLY, close, same_constant
from gmpo.verifier.numbers import TOLERANCE

PROBES = (Rational(7, 11), Rational(29, 13), Rational(101, 17))  # values of the first variable, all positive
MOST_SIGNS = 8  # combinations of signs to try


def same_function(a: Expr, b: Expr, places: int | None) -> bool | None:
    """Return whether two expressions in the same variables are equal; None where this cannot be decided.

    Faster than simplifying their difference, and no small difference is overlooked. Where only one of them is real, as
    may happen with 1/sqrt(n) and sqrt(1/n), they are not compared.
    """
    if a.free_symbols != b.free_symbols:
        return None
    symbols = sorted(a.free_symbols, key=str)
    if any(_differ(a, b, at, places) for at in _positive(symbols)):
        return False
    difference = expand(a - b)
    if difference.is_number:
        return same_constant(difference + 1, Integer(1), places)
    with_real = (at for at in _of_other_signs(symbols) if _is_real(a, at) and _is_real(b, at))
    if any(_differ(a, b, at, places) for at in with_real):
        return False
    positive = {symbol: Dummy(symbol.name, positive=True) for symbol in symbols}
    return True if places is None and simplify(difference.subs(positive)) == 0 else None


def _differ(a: Expr, b: Expr, at: dict[Symbol, Expr], places: int | None) -> bool:
    x, y = N(a.subs(at), DIGITS), N(b.subs(at), DIGITS)
    if not (x.is_finite and y.is_finite):
        return False
    return not close(x, y, EXACTLY if places is None else TOLERANCE)


def _is_real(e: Expr, at: dict[Symbol, Expr]) -> bool:
    """Return whether every root and logarithm in `e` is real at a point; always true for an expression with i."""
    if e.has(I):
        return True
    bases = [power.base for power in e.atoms(Pow) if not power.exp.is_integer] + [f.args[0] for f in e.atoms(log)]
    return all(N(base.subs(at)).is_nonnegative for base in bases)


def _positive(symbols: list[Symbol]) -> Iterator[dict[Symbol, Expr]]:
    for probe in PROBES:
        yield {symbol: probe + place for place, symbol in enumerate(symbols)}


def _of_other_signs(symbols: list[Symbol]) -> Iterator[dict[Symbol, Expr]]:
    for signs in islice(product((-1, 1), repeat=len(symbols)), MOST_SIGNS):
        at = zip(symbols, signs, strict=True)
        yield {symbol: sign * (PROBES[0] + place) for place, (symbol, sign) in enumerate(at)}
