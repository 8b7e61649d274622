r"""Families of numbers, \frac{\pi}{2} + k\pi for every integer k, with any letter and any first member."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from sympy import Eq, Expr, Symbol

from gmpo.verifier.parsing import Parsed, parsed

PARAMETER = r"\(?\s*(?P<{0}>[a-zA-Z])\s*\\in\s*\\mathbb\s*\{{?(?P<{1}>[ZN](?:\^\+|_\+)?)\}}?(?:\^\+|_\+)?\s*\)?"
FAMILY = re.compile(
    r"(?:\\\{\s*)?(?P<members>.+?)\s*"
    r"(?:[,;:]|\\mid|\\vert|\\text\s?\{[ ,]*(?:where|for|with|for all|for any|for some)?\s*\}|\s)\s*"
    rf"{PARAMETER.format('letter', 'domain')}\s*(?:\\\}})?\.?"
)
FAMILY_IN_WORDS = re.compile(
    r"(?P<members>.+?)\s*,?\s*\\text\s?\{[ ,(]*(?:for |where |with )(?:all |any |every |some |each )?(?:integers? )?\}?"
    r"\s*(?P<letter>[a-zA-Z])\s*(?:\}|\\text\s?\{\s*(?:is )?(?:an? )?integers?\)?\s*\})?\.?"
)


@dataclass(frozen=True)
class Family:
    """Members with a letter that ranges over Z or N."""

    members: str
    letter: str
    domain: str


def read_family(text: str) -> Family | None:
    """Return the family of a text that describes one, else None."""
    if "\\in" in text and (found := FAMILY.fullmatch(text)):
        return Family(found["members"].strip(" ,;"), found["letter"], found["domain"])
    if "integer" in text and (found := FAMILY_IN_WORDS.fullmatch(text)):
        return Family(found["members"].strip(" ,;"), found["letter"], "Z")
    return None


def same_family(a: Family, b: Family, same: Callable[[Parsed, Parsed], bool]) -> bool | None:
    """Return whether two families have the same members; None where they cannot be parsed."""
    x, y = parsed(a.members), parsed(b.members)
    if x is None or y is None:
        return None
    if a.domain != b.domain:
        return False
    at = next((s for s in y.free_symbols if s.name == b.letter), Symbol(b.letter))
    x = x.subs({s: at for s in x.free_symbols if s.name == a.letter})
    if same(x, y):
        return True
    x, y = (e.rhs if isinstance(e, Eq) else e for e in (x, y))
    if b.domain != "Z" or not (isinstance(x, Expr) and isinstance(y, Expr)):
        return False
    step, gold_step = (e.subs(at, 1) - e.subs(at, 0) for e in (x, y))
    linear = all(same(e.subs(at, 3) - e.subs(at, 0), 3 * s) for e, s in ((x, step), (y, gold_step)))
    if not linear or not (same(step, gold_step) or same(step, -gold_step)):
        return False
    shift = ((x.subs(at, 0) - y.subs(at, 0)) / gold_step).n(30)
    return bool(shift.is_real and abs(shift - round(shift)) < 1e-20)
