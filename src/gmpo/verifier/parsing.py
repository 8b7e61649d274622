"""Parsing of an answer with sympy, including notation that math-verify lacks: plus-minus, inequalities joined by words.

It parses and computes, so it runs in a worker process.
"""

import logging
import re
from functools import lru_cache
from typing import TypeAlias

from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from math_verify.grader import should_treat_as_complex
from math_verify.parser import get_last_eq
from sympy import And, Basic, Eq, FiniteSet, I, Intersection, Interval, MatrixBase, Set, Symbol, Union, conjugate
from sympy.core.relational import GreaterThan, Relational, StrictGreaterThan

from gmpo.verifier.relations import solutions
from gmpo.verifier.rewriting import prepared
from gmpo.verifier.words import counted

__all__ = ["Parsed", "is_pair", "parsed", "prepared"]

Parsed: TypeAlias = Basic | MatrixBase
PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])")
MINUS_PLUS = re.compile(r"\\mp(?![A-Za-z])")
INEQUALITY = re.compile(r"[<>]|\\(?:[lg]e?|ne)(?![A-Za-z])")
OR = re.compile(r",?\s*\\text\s?\{\s*,?\s*or\s*\}|\bor\b|\\lor(?![A-Za-z])|\\vee(?![A-Za-z])")
AND = re.compile(r",?\s*\\text\s?\{\s*,?\s*and\s*\}|\band\b|\\land(?![A-Za-z])|\\wedge(?![A-Za-z])")
CONJUGATE = re.compile(r"\\overline\{([^{}]*\d[^{}]*i|[^{}]*i[^{}]*\d)\}")
NAMED = re.compile(r"[^=<>,;]*=([^=<>]+)")  # the left side need not be a formula: Area(ABC) = 5
NO_NAME = re.compile(r"\\(?:ne|not|approx|sim|to|implies|pm|in|cup|text|neq|[A-Za-z]*[aA]rrow)(?![A-Za-z])|\d\s*$")

NORMAL = NormalizationConfig(nits=True)  # its own units would strip the t from 2t
CONVERSION = ConversionConfig(lowercase_symbols=False)  # R and r differ

logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns that its own timeouts are off


def is_pair(text: str) -> bool:
    """Return whether one pair of brackets encloses the whole text."""
    return text.startswith("(") and text.find(")") == len(text) - 1


@lru_cache(maxsize=1024)
def parsed(text: str) -> Parsed | None:
    """Return the sympy object of a text, evaluated as little as possible; None if it cannot be parsed."""
    if len(PLUS_MINUS.findall(text)) == 1:
        return _both_signs(text)
    if found := CONJUGATE.fullmatch(text):
        inside = _parsed(found[1])
        return None if inside is None else conjugate(inside.subs({s: I for s in inside.free_symbols if s.name == "i"}))
    if INEQUALITY.search(text) or "\\infty" in text:
        for word, joined in ((OR, Union), (AND, Intersection)):
            parts = word.split(text)
            sets = [_solutions(part) for part in parts] if len(parts) > 1 else [None]
            if None not in sets:
                return joined(*sets)
    return _in_order(_parsed(text))


def _parsed(text: str) -> Parsed | None:
    text = counted(text) or text if "\\text" in text else text
    for version in (text, _value(text)):
        if version and (e := _converted(version)) is not None:
            return e
    return None


def _converted(text: str) -> Parsed | None:
    """Convert a text by math-verify's steps, but keep the case of letters."""
    latex = normalize_latex(text, NORMAL)
    for version in dict.fromkeys((latex, get_last_eq(latex))):
        try:
            e = latex2sympy(
                version,
                is_real=not should_treat_as_complex(version),
                normalization_config=None,
                conversion_config=CONVERSION,
            )
        except Exception:  # noqa: BLE001
            continue  # it may raise anything on text that it cannot read
        return e if isinstance(e, Parsed) else None
    return None


def _value(text: str) -> str | None:
    found = NAMED.fullmatch(text)
    return found[1].strip() if found and not NO_NAME.search(text[: found.start(1) - 1]) else None


def _both_signs(text: str) -> Parsed | None:
    """Return the set of the two meanings, with the upper and with the lower signs."""
    upper = _parsed(MINUS_PLUS.sub("-", PLUS_MINUS.sub("+", text)))
    lower = _parsed(MINUS_PLUS.sub("+", PLUS_MINUS.sub("-", text)))
    if upper is None or lower is None:
        return None
    return FiniteSet(*(member for e in (upper, lower) for member in (e.args if isinstance(e, FiniteSet) else (e,))))


def _solutions(text: str) -> Set | None:
    """Return the set of a solved relation in one variable; an interval is returned as it is."""
    e = _parsed(text)
    if isinstance(e, Eq) and isinstance(e.rhs, Set):
        return e.rhs
    if isinstance(e, Relational | And):
        return solutions(e)
    return e if isinstance(e, Interval) else None


def _in_order(e: Parsed | None) -> Parsed | None:
    """Turn 2 > x > 1 into 1 < x < 2, and 5 = x into x = 5."""
    if isinstance(e, Eq) and isinstance(e.rhs, Symbol) and not e.lhs.free_symbols:
        return Eq(e.rhs, e.lhs, evaluate=False)
    if isinstance(e, And) and all(isinstance(link, GreaterThan | StrictGreaterThan) for link in e.args):
        return type(e)(*(link.reversed for link in reversed(e.args)), evaluate=False)  # math-verify's own And
    return e
