"""Units of measurement as answers write them. Amounts are not converted: 5 m and 500 cm differ."""

import re

from gmpo.rewards.words import JOINED

NAMES = {  # a unit: the words for it, without the plural's s
    "percent": "percent pct",
    "degree": "degree deg ° ^\\circ",
    "dollar": "dollar usd buck",
    "cent": "cent",
    "euro": "euro €",
    "pound": "pound lb",
    "yen": "yen",
    "rupee": "rupee",
    "mm": "mm millimeter millimetre",
    "cm": "cm centimeter centimetre",
    "m": "meter metre",
    "km": "km kilometer kilometre",
    "inch": "inch inche in",
    "foot": "foot feet ft",
    "yard": "yard yd",
    "mile": "mile mi",
    "g": "gram",
    "kg": "kg kilogram",
    "ounce": "ounce oz",
    "liter": "liter litre",
    "ml": "ml milliliter millilitre",
    "gallon": "gallon gal",
    "cup": "cup",
    "second": "second sec",
    "minute": "minute min",
    "hour": "hour hr",
    "day": "day",
    "week": "week",
    "month": "month",
    "year": "year yr",
    "unit": "unit",
    "mile/hour": "mph",
    "km/hour": "kph",
    "km/second": "kps",
}
ANY_UNIT = ("unit", "unit^2", "unit^3")
SHORT = {"m": "m", "g": "g", "s": "second", "h": "hour", "l": "liter", "L": "liter"}  # only inside \text{}
UNITS = {word: unit for unit, words in NAMES.items() for word in words.split()}
POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}
WRITTEN_POWER = re.compile(r"\^\{?([23])\}?")


DEGREES = re.compile(r"\^\s?\{?\s?(?:\\circ|\\text\s?\{\s?o\s?\}|o)\s?\}?(?:\s*(?:\\text\s?\{\s?)?[CF]\s?\}?)?$")
TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
IN_TEXT = re.compile(r"\\text\s?\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
SYMBOL = r"(?:\\text\s?\{\s?[^{}\d\s][^{}\d]*(?:\d[^{}\d]*|\{-?\d\}[^{}\d]*)*\}|\\(?:mu|Omega|AA)(?![A-Za-z]))"
RAISED = r"(?:\s?\^\s?(?:\{\s?-?\d\s?\}|\d))"
SYMBOL_AT_END = re.compile(rf"{SYMBOL}{RAISED}?$")
# several symbols, a power, or a quotient: nothing else can be meant
COMPOUND_AT_END = re.compile(
    rf"(?:/\s?{SYMBOL}{RAISED}?|{SYMBOL}{RAISED}?(?:\s?(?:/|\\cdot(?![A-Za-z]))?\s?{SYMBOL}{RAISED}?)+|{SYMBOL}{RAISED}|"
    r"\\(?:Omega|AA))$"
)
PRODUCT = rf"{SYMBOL}{RAISED}?(?:\s?\\cdot\s?{SYMBOL}{RAISED}?)*"
QUOTIENT = re.compile(rf"\\frac\s?\{{\s?({PRODUCT})\s?\}}\s?\{{\s?({PRODUCT})\s?\}}$")
WORDS_AT_END = re.compile(r"(?<=[\d})\s])([A-Za-z][A-Za-z./ ]*)(\^\{?[23]\}?)?$")
LONGEST = 80  # characters at the end in which a unit is looked for


def without_unit(text: str) -> tuple[str, str | None]:
    """The text before a unit at its end, and the unit.

    What can only be a unit is taken off even where it is not known. The degrees of a sine are no unit.
    """
    if degrees := DEGREES.search(text):
        return (text, None) if TRIGONOMETRIC.search(text) else (text[: degrees.start()].rstrip(), "degree")
    text = QUOTIENT.sub(r"\1/\2", text)
    end = max(0, len(text) - LONGEST)
    for pattern in (COMPOUND_AT_END, SYMBOL_AT_END, WORDS_AT_END):
        found = pattern.search(text, end)
        if found is None or not any(c.isdigit() for c in text[: found.start()]):
            continue
        words = IN_TEXT.sub(r"\1", found.group()).replace("\\cdot", " ")
        unit = unit_of(re.sub(r"\s?\^\s?", "^", words), in_text=pattern is not WORDS_AT_END)
        compound = pattern is COMPOUND_AT_END or (pattern is SYMBOL_AT_END and "^" in words)
        if unit is not None or (compound and not JOINED.search(words)):
            return text[: found.start()].rstrip(" -"), None if unit in ANY_UNIT else unit
    return text, None


def unit_of(words: str, in_text: bool) -> str | None:
    """The unit that these words name, such as "mile/hour" or "cm^2"; None where a word is no unit.

    in_text: the words stand inside \\text{}, where a single letter is a unit and not a variable.
    """
    parts = re.split(r"\s*(?:/|\bper\b)\s*", words.strip(" .~\\,"))
    in_text = in_text or any(part in UNITS for part in parts[:1])  # km/h
    named = [_one_unit(part, in_text) for part in parts]
    return "/".join(unit for unit in named if unit is not None) if None not in named else None


def _one_unit(words: str, in_text: bool) -> str | None:
    power = "".join(f"^{found}" for found in WRITTEN_POWER.findall(words))
    unit = None
    for word in WRITTEN_POWER.sub("", words).replace("~", " ").split():
        lower = word.strip(".").lower()
        if lower in POWERS:
            power = POWERS[lower]
            continue
        found = UNITS.get(lower) or UNITS.get(lower.removesuffix("s")) or (SHORT.get(word) if in_text else None)
        if found is None or unit is not None:
            return None
        unit = found
    return None if unit is None else unit + power
