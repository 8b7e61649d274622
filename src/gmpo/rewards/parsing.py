"""From an answer's text to sympy, with what math-verify does not read: one plus-minus, inequalities joined by words.

It parses and computes, so it runs in a worker process.
"""

import logging
import re
from functools import lru_cache
from typing import TypeAlias

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse
from sympy import And, Basic, Eq, FiniteSet, Intersection, Interval, MatrixBase, Set, Union
from sympy.core.relational import GreaterThan, Relational, StrictGreaterThan

from gmpo.rewards.units import TRIGONOMETRIC

Parsed: TypeAlias = Basic | MatrixBase
SET_OF_PAIRS = re.compile(r"\\\{\s*(\(.*\))\s*\\\}")
SUCH_THAT = re.compile(r"\\\{\s*[a-zA-Z]\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?(?:\\mid|\\vert|[:|])\s*(.*)\\\}")
DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\^\s*\{?\s*\\circ\s*\}?")
PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])")
MINUS_PLUS = re.compile(r"\\mp(?![A-Za-z])")
TEXT_AT_END = re.compile(r"\\text\s?\{[^{}]*\}$")
INEQUALITY = re.compile(r"[<>]|\\[lg]e?(?![A-Za-z])")
OR = re.compile(r"\\text\s?\{\s*or\s*\}|\bor\b|\\lor(?![A-Za-z])|\\vee(?![A-Za-z])")
AND = re.compile(r"\\text\s?\{\s*and\s*\}|\band\b|\\land(?![A-Za-z])|\\wedge(?![A-Za-z])")

# units of its own would take the t off 2t
READING = LatexExtractionConfig(normalization_config=NormalizationConfig(malformed_operators=True, nits=True))

logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns that its own timeouts are off


def prepared(text: str) -> str:
    """Set builders and sets of pairs without their braces; the degrees of a sine in radians."""
    for pattern in (SET_OF_PAIRS, SUCH_THAT):
        if found := pattern.fullmatch(text):
            return found[1].strip()
    return DEGREES.sub(r"(\1\\cdot\\frac{\\pi}{180})", text) if TRIGONOMETRIC.search(text) else text


def is_pair(text: str) -> bool:
    """Whether one bracket holds the whole text."""
    return text.startswith("(") and text.find(")") == len(text) - 1


@lru_cache(maxsize=1024)
def parsed(text: str) -> Parsed | None:
    """As sympy understands it, evaluated as little as possible; None where it cannot be read."""
    if len(PLUS_MINUS.findall(text)) == 1:
        return _both_signs(text)
    if INEQUALITY.search(text) or "\\infty" in text:
        for word, joined in ((OR, Union), (AND, Intersection)):
            parts = word.split(text)
            sets = [_solutions(part) for part in parts] if len(parts) > 1 else [None]
            if None not in sets:
                return joined(*sets)
    return _in_order(_parsed(text))


def _parsed(text: str) -> Parsed | None:
    found = parse(f"${TEXT_AT_END.sub('', text).strip() or text}$", (READING,), parsing_timeout=None)
    return next((e for e in found if isinstance(e, Parsed)), None)


def _both_signs(text: str) -> Parsed | None:
    """The set of what the upper and the lower signs mean."""
    upper = _parsed(MINUS_PLUS.sub("-", PLUS_MINUS.sub("+", text)))
    lower = _parsed(MINUS_PLUS.sub("+", PLUS_MINUS.sub("-", text)))
    if upper is None or lower is None:
        return None
    return FiniteSet(*(member for e in (upper, lower) for member in (e.args if isinstance(e, FiniteSet) else (e,))))


def _solutions(text: str) -> Set | None:
    """Of an inequality in one variable; an interval is its own."""
    e = _parsed(text)
    if isinstance(e, Eq):
        return e.rhs if isinstance(e.rhs, Set) else None
    if isinstance(e, Relational | And) and len(e.free_symbols) == 1:
        return e.as_set()
    return e if isinstance(e, Interval) else None


def _in_order(e: Parsed | None) -> Parsed | None:
    """2 > x > 1 as 1 < x < 2."""
    if isinstance(e, And) and all(isinstance(link, GreaterThan | StrictGreaterThan) for link in e.args):
        return type(e)(*(link.reversed for link in reversed(e.args)), evaluate=False)  # math-verify has its own And
    return e
