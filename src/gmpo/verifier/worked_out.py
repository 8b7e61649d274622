"""The test whether a right answer is worked out, or only repeats the exercise: 513^2 - 487^2 instead of 26000.

It examines parsed answers, so it runs in a worker process.
"""

import re
from collections.abc import Iterator, Set

from sympy import (
    Add,
    And,
    Basic,
    Derivative,
    Eq,
    Integer,
    Integral,
    Limit,
    MatrixBase,
    Mod,
    Mul,
    Pow,
    Product,
    Sum,
    binomial,
    ceiling,
    factorial,
    floor,
    gamma,
    log,
    preorder_traversal,
)
from sympy.core.function import Function
from sympy.core.relational import Relational
from sympy.functions.elementary.hyperbolic import InverseHyperbolicFunction
from sympy.functions.elementary.trigonometric import InverseTrigonometricFunction

from gmpo.verifier.notation import ParsedAnswer
from gmpo.verifier.operations import cost, factors, is_constant
from gmpo.verifier.parsing import Parsed, parsed, prepared

LEFT_OPEN = 2  # an answer's operations must cost less than this beyond those of the gold answer
LIMITS = {Sum: "sum", Product: "sum", Integral: "integral", Limit: "limit", Derivative: "derivative"}
FUNCTIONS = {  # must be evaluated where their arguments are numbers alone
    **dict.fromkeys((log, InverseTrigonometricFunction, InverseHyperbolicFunction), "inverse function"),
    **dict.fromkeys((floor, ceiling, Mod), "remainder"),
    **dict.fromkeys((factorial, binomial, gamma), "factorial"),
}
N = r"\s*\{?\s*\d+\s*\}?"
EVALUATED = {  # by the parser, so only the text shows them
    "factorial": re.compile(rf"\\[dt]?binom{N}{N}|\d\s*\}}?\s*\\choose{N}"),
    "remainder": re.compile(r"\\?(?<![A-Za-z])(?:gcd|lcm|max|min)(?![A-Za-z])"),
}
FACTORIALS = re.compile(r"!|\\[dt]?binom|\\choose|\\Gamma")


def worked_out(answer: ParsedAnswer, gold: ParsedAnswer) -> bool:
    """Return whether an answer equal to the gold answer leaves nothing undone that the gold answer has done.

    One operation at sight, such as 2^3 or \\frac{6}{\\sqrt{3}}, does not count. Answers that the parser cannot read
    count as worked out.
    """
    texts = prepared(answer.text), prepared(gold.text)
    a, b = map(parsed, texts)
    if a is None or b is None:
        return True
    a, b = _value(a, texts[0], b), _value(b, texts[1], a)
    if a is None or b is None:
        return True
    if set(_kinds(a, texts[0], alone=True)) - set(_kinds(b, texts[1], alone=False)):
        return False
    if _is_factored(b) and _is_expanded(a):
        return False
    return cost(a, _arithmetic(b)) - cost(b, _arithmetic(a)) < LEFT_OPEN


def _value(e: Parsed, text: str, other: Parsed) -> Parsed | None:
    """Return the last side of an equation or of a chain of them; other expressions as they are."""
    if isinstance(other, Relational):
        return e
    if isinstance(e, And) and all(isinstance(link, Eq) for link in e.args):
        return parsed(text.rpartition("=")[2])
    return e.rhs if isinstance(e, Eq) else e


def _arithmetic(e: Parsed) -> Set[Basic]:
    """Return the parts of an answer that contain no function."""
    return set() if isinstance(e, MatrixBase) else {part for part in preorder_traversal(e) if not part.has(Function)}


def _kinds(e: Parsed, text: str, alone: bool) -> Iterator[str]:
    """Yield the names of the operations in an answer that are not arithmetic.

    alone: include only functions of numbers that are in no other function.
    """
    text = text.rpartition("=")[2] if alone else text
    yield from (kind for kind, pattern in EVALUATED.items() if pattern.search(text))
    if not alone and FACTORIALS.search(text):
        yield "factorial"
    entries = e.flat() if isinstance(e, MatrixBase) else [e]
    for entry in entries:
        yield from _kinds_of(entry, alone)


def _kinds_of(e: Basic, alone: bool) -> Iterator[str]:
    yield from (kind for operation, kind in LIMITS.items() if isinstance(e, operation))
    if not alone or is_constant(e):
        yield from (kind for function, kind in FUNCTIONS.items() if isinstance(e, function))
    if alone and isinstance(e, Function):
        return
    for part in e.args:
        yield from _kinds_of(part, alone)


def _is_factored(e: Parsed) -> bool:
    """Return whether a polynomial with integer coefficients is written as a product of two or more sums."""
    sums = 0
    for part, below in factors(e) if isinstance(e, Mul | Pow) else ():
        base, times = (part.base, part.exp) if isinstance(part, Pow) else (part, Integer(1))
        if below or not isinstance(times, Integer) or times < 1 or not _is_polynomial(base):
            return False
        sums += int(times) if isinstance(base, Add) and not is_constant(base) else 0
    return sums > 1


def _is_expanded(e: Parsed) -> bool:
    return isinstance(e, Add) and _is_polynomial(e)


def _is_polynomial(e: Basic) -> bool:
    """Return whether `e` is a sum of monomials with integer coefficients."""
    terms = e.args if isinstance(e, Add) else (e,)
    return all(
        isinstance(base, Integer) or (base.is_Symbol and isinstance(times, Integer) and times > 0 and not below)
        for term in terms
        for part, below in factors(term)
        for base, times in [(part.base, part.exp) if isinstance(part, Pow) else (part, Integer(1))]
    )
