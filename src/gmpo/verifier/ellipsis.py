"""Ellipses: lists and sums with one are compared as written, a decimal that ends in one continues."""

import re
from itertools import pairwise

DOTS = re.compile(r"(?:\\(?:[lc]?dots|dots[cbmio]|ldotp|hdots)(?![A-Za-z])\s*|\.\s?\.\s?\.(?:\s?\.)*\s*)")
ELLIPSIS = "\\ldots "
DECIMAL = re.compile(r"(?P<whole>-?\d*)\.(?P<digits>\d+)\s*\\ldots")
SINGLE_DIGIT = re.compile(r"(?P<fixed>\d*?)(?P<cycle>\d)(?P=cycle){2,}|()(\d)\4")
CYCLE = re.compile(r"(?P<cycle>\d{2,}?)(?P=cycle)+")
LEADING = re.compile(r"-?\d+")


def with_one_ellipsis(text: str) -> str:
    r"""Write \dots, \cdots and ... as \ldots, and a decimal that continues by its repeating cycle if it shows one."""
    if "dots" not in text and ".." not in text.replace(" ", ""):
        return text
    text = DOTS.sub(lambda _: ELLIPSIS, text).strip()
    before, equals, result = text.rpartition("=")
    if equals and ELLIPSIS.strip() in before and ELLIPSIS.strip() not in result:
        text = result.strip()  # 1 + 2 + ... = 3 is 3
    found = DECIMAL.fullmatch(text)
    return _decimal(found["whole"], found["digits"]) if found else text


def _decimal(whole: str, digits: str) -> str:
    if cycle := CYCLE.fullmatch(digits):
        return f"{whole}.\\overline{{{cycle['cycle']}}}"
    if single := SINGLE_DIGIT.fullmatch(digits):
        return f"{whole}.{single['fixed'] or ''}\\overline{{{digits[-1]}}}"
    return f"{whole}.{digits}"


def has_ellipsis(text: str) -> bool:
    """Return whether a text has an ellipsis in the middle or at the end."""
    return "\\ldots" in text


def same_with_ellipsis(a: str, b: str) -> bool:
    """Compare two texts with ellipses; blanks, a set's braces and further terms of a progression do not matter."""
    return _canonical(a) == _canonical(b)


def _canonical(text: str) -> str:
    text = (
        re.sub(r"\{(\w)\}", r"\1", re.sub(r"\s|\\[{},]", "", text))
        .replace(",\\ldots", "\\ldots")
        .replace("\\ldots,", "\\ldots")
    )
    before, dots, after = text.partition("\\ldots")
    terms = before.split(",")
    if dots and all(map(LEADING.fullmatch, terms)):
        values = [int(term) for term in terms]
        steps = {b - a for a, b in pairwise(values)}
        if len(steps) == 1:
            before = ",".join(terms[:2])  # 1, 2, 3, ... is 1, 2, ...
    return before + dots + after
