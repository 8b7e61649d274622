"""Comparison of answers of words and formulas: the words must be the same, and each formula must match."""

import re
from collections.abc import Callable

from gmpo.verifier.words import TEXT

BARE_WORDS = "if when for where otherwise else is are odd even all any and or at least most more less than not except"
BARE_WORDS += " integer integers positive negative real between times dozen mod base of the an"
WORDS = re.compile(
    rf"\\text\s?\{{([^{{}}]*)\}}|(?<![\\A-Za-z])({BARE_WORDS.replace(' ', '|')})(?![A-Za-z])", re.IGNORECASE
)
STRUCTURE = re.compile(r"\\(?:begin|end)\s?\{(?:cases|array|aligned|align)\*?\}(?:\{[clr|]+\})?|\\\\|&|\n")
AROUND = " \t\n,;:.&~"


def same_sentence(a: str, b: str, same: Callable[[str, str], bool]) -> bool:
    """Return whether two answers have the same words in the same order, with equal formulas between them."""
    (words, formulas), (other_words, other_formulas) = _parts(a), _parts(b)
    if words != other_words or len(formulas) != len(other_formulas):
        return False
    return all(
        bare(x) == bare(y) or (bool(x and y) and same(x, y)) for x, y in zip(formulas, other_formulas, strict=True)
    )


def bare(text: str) -> str:
    r"""Return a formula without markup and blanks; braces and points stay where they distinguish 2^{n-1} from 2^n-1."""
    plain = re.sub(r"\s", "", TEXT.sub(r"\1", text))
    while plain != (plain := re.sub(r"\{(\w)\}", r"\1", plain)):
        pass
    return plain.strip(".,;")


def _parts(text: str) -> tuple[list[str], list[str]]:
    """Split a text into words and formulas in turn; the first and the last part are formulas, perhaps empty."""
    words: list[str] = []
    formulas: list[str] = []
    at = 0
    text = STRUCTURE.sub(r" \\text{;} ", text)
    for found in WORDS.finditer(text):
        before, said = text[at : found.start()].strip(AROUND), "".join((found[1] or found[2] or "").casefold().split())
        at = found.end()
        said = said.strip(".,;:")
        if words and not before:
            words[-1] += said
            continue
        formulas.append(before)
        words.append(said)
    formulas.append(text[at:].strip(AROUND))
    return words, formulas
