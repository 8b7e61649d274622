"""The amount of arithmetic that a parsed expression leaves undone.

The parser evaluates almost nothing: 513^2 - 487^2 is still a difference of powers, and 19x - 4x still a sum.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import TypeAlias

from sympy import (
    Abs,
    Add,
    Basic,
    Expr,
    Float,
    Integer,
    MatAdd,
    MatMul,
    MatrixBase,
    MatrixExpr,
    Mul,
    Number,
    Pow,
    Rational,
    arg,
    conjugate,
    exp,
    factorint,
    im,
    log,
    re,
)
from sympy.core.function import Function
from sympy.functions.elementary.hyperbolic import HyperbolicFunction, InverseHyperbolicFunction
from sympy.functions.elementary.trigonometric import InverseTrigonometricFunction, TrigonometricFunction

AT_SIGHT = 10  # operations on numbers up to this are done at sight, and cost 1
MOST_TERMS = 64  # of a product of sums that is examined
FACTORED = 10**12  # radicands up to this are factored
OF_NUMBERS = (
    *(TrigonometricFunction, InverseTrigonometricFunction, HyperbolicFunction, InverseHyperbolicFunction, log),
    *(Abs, re, im, arg, conjugate),
)
Monomial: TypeAlias = frozenset[tuple[Basic, Basic | int]]


def cost(e: Basic | MatrixBase, free: Set[Basic] = frozenset()) -> int:
    """Return the cost of carrying out the operations in `e`: 1 each, 2 between numbers beyond AT_SIGHT.

    A fraction of two integers is a number, and c times a root, a function or pi counts as carried out. Of several
    answers the most expensive counts. free: subexpressions that cost nothing.
    """
    return _Cost(free).of(e, inside=False)


@dataclass(frozen=True)
class _Cost:
    free: Set[Basic] = field(default_factory=frozenset)

    def of(self, e: Basic | MatrixBase, inside: bool) -> int:
        """Return the cost of `e`. inside: the expression is an argument of a function."""
        if isinstance(e, MatrixBase):
            return max((self.of(entry, inside) for entry in e.flat()), default=0)
        if not e.args or e in self.free:
            return 0
        if isinstance(e, MatAdd | MatMul):
            matrices = sum(isinstance(part, MatrixBase | MatrixExpr) for part in e.args)
            return 2 * (matrices - 1) + (matrices < len(e.args))
        if not isinstance(e, Expr):
            return max(self.of(part, inside) for part in e.args)
        inside_this = inside or isinstance(e, Function)
        parts = [part for part, _ in factors(e)] if _is_product(e) else e.args
        return self._own(e, inside) + sum(self.of(part, inside_this) for part in parts)

    def _own(self, e: Expr, inside: bool) -> int:
        if isinstance(e, Add):
            return _sum_cost(e)
        if _is_product(e):
            return _product_cost(e)
        if isinstance(e, Pow):
            return _power_cost(e)
        if inside:
            return 0
        if isinstance(e, exp):
            return int(has_i(e))
        return int(isinstance(e, OF_NUMBERS) and (not isinstance(e, Abs) or is_constant(e)))


def is_constant(e: Basic) -> bool:
    """Return whether `e` has no variable; the letter i is not one."""
    return all(symbol.name == "i" for symbol in e.free_symbols)


def has_i(e: Basic) -> bool:
    return any(symbol.name == "i" for symbol in e.free_symbols)


def factors(e: Basic) -> Iterator[tuple[Basic, bool]]:
    """Yield the factors of a product, and for each whether it is below the fraction bar."""
    if isinstance(e, Mul):
        for part in e.args:
            yield from factors(part)
    elif isinstance(e, Pow) and e.exp == -1:
        yield from ((part, not below) for part, below in factors(e.base))
    else:
        yield e, False


def _is_product(e: Basic) -> bool:
    return isinstance(e, Mul) or (isinstance(e, Pow) and e.exp == -1)


def _sum_cost(e: Add) -> int:
    """Count the like terms in different summands that remain to be added."""
    summands = [part for part in e.args if part != 0]
    terms = Counter(monomial for part in summands for monomial in _monomials(part))
    numbers = [part for part in summands if isinstance(part, Number)]
    hard = len(numbers) > 1 and (any(map(_is_big, numbers)) or sum(map(_is_fraction, numbers)) > 1)
    return sum(count - 1 for count in terms.values()) + hard


def _product_cost(e: Mul) -> int:
    total = 0
    parts = list(factors(e))
    for side in (False, True):
        numbers = [part for part, below in parts if below == side and part not in (1, -1) and _is_counted(part)]
        literal = [part for part in numbers if isinstance(part, Number)]
        hard = (len(literal) > 1 and any(map(_is_big, literal))) or sum(isinstance(part, Add) for part in numbers) > 1
        total += max(0, len(numbers) - 1) + hard
    total += sum(below and _is_awkward(part) for part, below in parts)
    total += sum(_is_fraction(part) for part, _ in parts) > 1
    variables = Counter(_base(part) for part, _ in parts if not is_constant(part))
    return total + sum(count - 1 for count in variables.values())


def _power_cost(e: Pow) -> int:
    base, exponent = e.base, e.exp
    if not is_constant(base) or not is_constant(exponent) or (base in (1, 10) and isinstance(exponent, Integer)):
        return 0
    if isinstance(exponent, Rational) and not isinstance(exponent, Integer):
        return _root_cost(base, exponent)
    if not (_is_counted(base) or has_i(base)):
        return 0
    return 1 + any(isinstance(part, Number) and _is_big(part) for part in (base, exponent))


def _root_cost(base: Basic, exponent: Rational) -> int:
    nested = isinstance(base, Pow) and isinstance(base.exp, Rational) and not isinstance(base.exp, Integer)
    total = int(nested) + (exponent.p < 0)
    if isinstance(base, Rational):
        leaves = prod(_leaves_root(abs(part), exponent.q) for part in (base.p, base.q))
        total += (leaves > 1) + (leaves > AT_SIGHT)
    return total


def _leaves_root(n: int, degree: int) -> int:
    """Return the largest number whose power of this degree divides n; 1 if n is too large to factor."""
    if not 1 < n <= FACTORED:
        return 1
    return prod(prime ** (times // degree) for prime, times in factorint(n).items())


def _is_big(number: Number) -> bool:
    if isinstance(number, Rational):
        return max(abs(number.p), number.q) > AT_SIGHT
    return True


def _is_rational(e: Basic) -> bool:
    """Return whether `e` consists of sums, products and integer powers of numbers only."""
    if isinstance(e, Rational | Float):
        return True
    if isinstance(e, Pow):
        return _is_rational(e.base) and _is_rational(e.exp) and not _is_fraction(e.exp)
    return isinstance(e, Add | Mul) and all(map(_is_rational, e.args))


def _is_fraction(e: Basic) -> bool:
    return isinstance(e, Rational) and not isinstance(e, Integer)


def _is_counted(e: Basic) -> bool:
    """Return whether a factor counts as a number in a product: a number itself, or a sum of constants."""
    return is_constant(e) and (_is_rational(e) or isinstance(e, Add))


def _is_awkward(e: Basic) -> bool:
    """Return whether a denominator should be rationalised: a fraction, a root, i, or a sum with one of them."""
    if not is_constant(e) or isinstance(e, Integer):
        return False
    if isinstance(e, Add):
        return not _is_rational(e)
    return _is_fraction(e) or has_i(e) or (isinstance(e, Pow) and _is_fraction(e.exp) and _is_rational(e.base))


def _base(e: Basic) -> Basic:
    return e.base if isinstance(e, Pow) and isinstance(e.exp, Rational) else e


def _monomials(e: Basic) -> Set[Monomial]:
    """Return the terms of `e` without coefficients, as after multiplying out its products of sums."""
    if _is_rational(e):
        return {frozenset()}
    if isinstance(e, Add):
        return {monomial for part in e.args for monomial in _monomials(part)}
    terms: Set[Monomial] = {frozenset()}
    for part, below in factors(e):
        times = int(part.exp) if isinstance(part, Pow) and isinstance(part.exp, Integer) and part.exp > 0 else 1
        base = part.base if times > 1 else part
        if _is_rational(base):
            continue
        if isinstance(base, Add) and not below and times <= 8:
            for _ in range(times):
                terms = {_joined(pair) for pair in product(terms, _monomials(base))}
                if len(terms) > MOST_TERMS:
                    return {frozenset({(e, 1)})}
        else:
            power = -times if below else times
            terms = {_joined((term, frozenset({(base, power)}))) for term in terms}
    return terms


def _joined(monomials: Iterable[Monomial]) -> Monomial:
    powers: Counter[Basic] = Counter()
    for monomial in monomials:
        for base, power in monomial:
            powers[base] += power
    return frozenset((base, power) for base, power in powers.items() if power != 0)
