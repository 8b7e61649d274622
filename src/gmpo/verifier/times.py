"""Comparison of times of day."""

import re

HALF = r"(?:\\text\s?\{\s*)?(?:([ap])\.?\s?m)?\.?\s?\}?"
TIME = re.compile(rf"(?i)(\d{{1,2}})(?:\s?(?:\\text\s?\{{:\}}|:)\s?([0-5]\d))?\s*{HALF}")


def read_time(text: str) -> tuple[int, int, str | None] | None:
    """Return hour, minute and half of the day (a, p or None) of a time such as 6:30 p.m."""
    found = TIME.fullmatch(text)
    return None if found is None else (int(found[1]), int(found[2] or 0), found[3].lower() if found[3] else None)


def same_time(answer: str, gold: str) -> bool | None:
    """Compare two times; None if they may be ratios. A half of the day that only one names is ignored."""
    a, b = read_time(answer), read_time(gold)
    if a is None or b is None:
        return False if any(time and time[2] for time in (a, b)) else None
    if not (a[2] or b[2]) and not (":" in answer and ":" in gold):
        return None  # 12 is a number
    return a[:2] == b[:2] and (None in (a[2], b[2]) or a[2] == b[2])
