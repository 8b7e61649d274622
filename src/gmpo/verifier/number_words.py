"""Numbers in words: seven, twenty-one, two thirds."""

import re

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
ONES += " eighteen nineteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
VALUES = {word: n for n, word in enumerate(ONES.split())} | {word: 10 * n for n, word in enumerate(TENS.split(), 2)}
PARTS = {"half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7}
PARTS |= {"eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "twentieth": 20, "hundredth": 100}
PARTS |= {"thousandth": 1000} | {f"{word}th": VALUES[word] for word in ONES.split()[13:]}
LONGEST = 80  # characters


def in_digits(words: str) -> str | None:
    """Return "7" for "seven" and "3/4" for "three quarters"; None for other words."""
    if len(words) > LONGEST:
        return None
    parts = re.findall(r"[a-z]+", words.casefold())
    if not parts or re.sub(r"[a-z\s-]", "", words.casefold()):
        return None
    last = parts[-1].removesuffix("s")
    if last in PARTS and len(parts) > 1:
        above = 1 if parts[:-1] in (["a"], ["an"]) else _whole(parts[:-1])
        return None if above is None else f"{above}/{PARTS[last]}"
    value = _whole(parts)
    return None if value is None else str(value)


def _whole(parts: list[str]) -> int | None:
    total = current = 0
    before = None
    for part in parts:
        if part == "and" and before in SCALES:
            continue
        if part in SCALES and current:
            current *= SCALES[part]
            if part != "hundred":
                total, current = total + current, 0
        elif part in VALUES and _may_follow(part, before):
            current += VALUES[part]
        else:
            return None
        before = part
    return total + current


def _may_follow(part: str, before: str | None) -> bool:
    """Return whether `part` continues the number: twenty-one does, one twenty and one two do not."""
    if before is None or before in SCALES:
        return True
    return VALUES[before] >= 20 and 0 < VALUES[part] < 10
