"""Comparison of ratios: 3:4:5 is 6:8:10. It parses, so it runs in a worker process."""

import re
from collections.abc import Callable, Sequence

from gmpo.verifier.parsing import Parsed, parsed

TO = re.compile(r"(?<=\d)\s*(?:\\text\s?\{\s*to\s*\}|to)\s*(?=\d)")
TERM = r"[^:{}=<>]+(?:\{[^:{}=<>]*\}[^:{}=<>]*)*"
RATIO = re.compile(rf"{TERM}(?::{TERM})+")


def read_ratio(text: str) -> Sequence[Parsed | None]:
    """Return the terms of a ratio; empty if the text is not a ratio."""
    text = TO.sub(":", text)
    return [parsed(term) for term in text.split(":")] if RATIO.fullmatch(text) else []


def same_ratio(a: Sequence[Parsed | None], b: Sequence[Parsed | None], same: Callable[[Parsed, Parsed], bool]) -> bool:
    """Return whether the terms of one ratio are those of the other times a common factor."""
    if len(a) != len(b) or a[0] is None or b[0] is None:
        return False
    return all(x is not None and y is not None and same(x * b[0], y * a[0]) for x, y in zip(a, b, strict=True))
