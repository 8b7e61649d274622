"""Comparison of sympy's numbers: exact ones exactly, decimals within rounding."""

from fractions import Fraction

from sympy import Expr, Float, I, N, Rational, binomial
from sympy.core.function import AppliedUndef

from gmpo.verifier.numbers import TOLERANCE
from gmpo.verifier.parsing import Parsed

DIGITS = 60  # precision for the evaluation of exact numbers
EXACTLY = Fraction(1, 10**50)  # relative tolerance for these
VANISHING = 500  # a difference without a nonzero digit among this many is 0


def is_constant(e: Parsed) -> bool:
    """Return whether an expression is a number."""
    return isinstance(e, Expr) and bool(with_imaginary_unit(e).is_number)


def with_imaginary_unit(e: Expr) -> Expr:
    """Replace the letter i by the imaginary unit if everything else is a number."""
    symbols = list(e.free_symbols)
    return e.subs(symbols[0], I) if [symbol.name for symbol in symbols] == ["i"] else e


def with_combinations(e: Parsed) -> Parsed:
    """Replace C(10, 3) by a binomial coefficient; apply it where the other answer is a number."""
    if not (isinstance(e, Expr) and e.has(AppliedUndef)):
        return e
    return e.replace(lambda f: isinstance(f, AppliedUndef) and f.func.__name__ == "C" and len(f.args) == 2, _binomial)


def _binomial(e: Expr) -> Expr:
    return binomial(*e.args, evaluate=False) if all(n.is_Integer for n in e.args) else e


def same_constant(a: Expr, b: Expr, places: int | None) -> bool:
    """Compare two constants: exactly (irrational ones to 500 digits), or decimals by `numbers.within_rounding`."""
    x, y = N(a, DIGITS), N(b, DIGITS)
    if not (x.is_finite and y.is_finite):
        return bool(a == b and a.is_extended_real)  # 6:00 is no number, nor is 7:00, and infinity over infinity
    if places is not None or a.has(Float) or b.has(Float):
        integer = a.is_integer or b.is_integer
        absolute = [*([] if places is None else [1.001 * 10.0**-places]), *([float(TOLERANCE)] if integer else [])]
        return close(x, y, TOLERANCE) and all(abs(x - y) <= limit for limit in absolute)
    if not close(x, y, EXACTLY) and not (_vanishes(x) and _vanishes(y)):
        return False
    difference = (a - b).doit()
    if isinstance(difference, Rational):
        return difference == 0
    rest = N(difference, 10, maxn=VANISHING)
    return all(part == 0 or getattr(part, "_prec", 1) == 1 for part in rest.as_real_imag())


def close(x: Expr, y: Expr, tolerance: Fraction) -> bool:
    """Return whether two numbers agree within a relative tolerance."""
    return bool(abs(x - y) <= Rational(tolerance.numerator, tolerance.denominator) * max(abs(x), abs(y)))


def _vanishes(x: Expr) -> bool:
    """Return whether a number may be 0: evaluated, sqrt(9) - 3 leaves a remainder below the precision."""
    return bool(abs(x) < Rational(EXACTLY.numerator, EXACTLY.denominator))
