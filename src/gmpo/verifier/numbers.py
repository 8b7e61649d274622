"""Exact parsing and comparison of rational numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 400  # characters
TOLERANCE = Fraction(1, 10**6)  # relative, for decimals

TIMES_TEN = r"\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*\{?(?P<power>-?\d{1,3})\}?"
DECIMAL = re.compile(rf"(?P<digits>\d+\.?\d*|\.\d+)(?:{TIMES_TEN}|[eE](?P<e>[+-]?\d{{1,3}}))?")
POWER_OF_TEN = re.compile(r"10\s*\^\s*\{?(-?\d{1,3})\}?")
REPEATING = re.compile(r"(?P<whole>\d*)\.(?P<fixed>\d*)\\overline\s*\{?(?P<cycle>\d+)\}?")
LATEX_FRACTION = re.compile(
    r"(?P<mixed>\d+)?\s*\\frac\s*"
    r"(?:\{\s*(?P<above>-?\d+)\s*\}|(?P<above_digit>\d))\s*(?:\{\s*(?P<below>-?\d+)\s*\}|(?P<below_digit>\d))"
)
PLAIN_FRACTION = re.compile(r"(?:(?P<mixed>\d+)\s+)?(?P<above>\d+)\s*/\s*(?P<below>-?\d+)")
BASES = dict(zip(["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], range(2, 11), strict=True))
NUMERAL_IN_BASE = re.compile(rf"(?i)(\d[0-9A-Z]*?)(?:_|base)(\d{{1,2}}|{'|'.join(BASES)})")
MARKUP = re.compile(r"\\text|[\s{}()]")
WRITTEN_PLACES = re.compile(r"\d*\.(\d+)")


@dataclass(frozen=True)
class Number:
    """A rational number, with the precision of its notation."""

    value: Fraction
    places: int | None = None  # digits after the point, of a decimal that is not whole; None: exact

    def divided_by_100(self) -> Number:
        """Return the value of a percentage."""
        return Number(self.value / 100, None if self.places is None else self.places + 2)


def read_number(text: str) -> Number | None:
    """Return an integer, decimal, fraction, mixed number, repeating decimal or number times a power of ten, or None."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    sign = -1 if text.startswith("-") else 1
    unsigned = text[1:].lstrip() if text[:1] in ("+", "-") else text
    number = _decimal(unsigned) or _repeating(unsigned) or _fraction(unsigned)
    return None if number is None else Number(sign * number.value, number.places)


def same_number(a: Number, b: Number) -> bool:
    """Compare two numbers: exact ones exactly, decimals by `within_rounding`."""
    places = [n.places for n in (a, b) if n.places is not None]
    return within_rounding(a.value, b.value, min(places)) if places else a.value == b.value


def within_rounding(a: Fraction, b: Fraction, places: int) -> bool:
    """Return whether two numbers agree, of which one is a decimal with `places` digits after the point.

    They must be within a relative 1e-6 and within one unit of the last place; within 1e-6 if one is an integer.
    """
    relative = TOLERANCE * max(abs(a), abs(b))
    absolute = Fraction(10) ** -places
    integer = 1 in (a.denominator, b.denominator)
    return abs(a - b) <= min(relative, absolute, TOLERANCE if integer else relative)


def decimal_places(text: str) -> int | None:
    """Return the fewest digits after the point among a text's decimals that are not whole; None without any."""
    return min((len(digits) for digits in WRITTEN_PLACES.findall(text) if digits.strip("0")), default=None)


def read_numeral(text: str) -> tuple[str, int] | None:
    """Return digits and base of a numeral such as 2516_8; letters are digits only in a base above ten."""
    found = NUMERAL_IN_BASE.fullmatch(MARKUP.sub("", text))
    if found is None:
        return None
    base = BASES.get(found[2].lower()) or int(found[2])
    return (found[1].upper(), base) if found[1].isdigit() or base > 10 else None


def _decimal(text: str) -> Number | None:
    if alone := POWER_OF_TEN.fullmatch(text):
        return Number(Fraction(10) ** int(alone[1]))
    found = DECIMAL.fullmatch(text)
    if found is None:
        return None
    whole, _, digits = found["digits"].partition(".")
    power = int(found["power"] or found["e"] or 0)
    value = Fraction(int(whole + digits), 10 ** len(digits)) * Fraction(10) ** power
    return Number(value, None if value.denominator == 1 else len(digits) - power)


def _repeating(text: str) -> Number | None:
    found = REPEATING.fullmatch(text)
    if found is None:
        return None
    fixed, cycle = found["fixed"], found["cycle"]
    cycling = Fraction(int(cycle), (10 ** len(cycle) - 1) * 10 ** len(fixed))
    return Number(Fraction(int(found["whole"] + fixed or "0"), 10 ** len(fixed)) + cycling)


def _fraction(text: str) -> Number | None:
    if plain := PLAIN_FRACTION.fullmatch(text):
        mixed, above, below = plain["mixed"], plain["above"], plain["below"]
    elif latex := LATEX_FRACTION.fullmatch(text):
        mixed, above, below = (
            latex["mixed"],
            latex["above"] or latex["above_digit"],
            latex["below"] or latex["below_digit"],
        )
    else:
        return None
    if int(below) == 0 or (mixed and (int(above) < 0 or int(below) < 0)):
        return None
    return Number(int(mixed or 0) + Fraction(int(above), int(below)))
