"""Units of measurement as answers write them. Amounts are not converted: 5 m and 500 cm differ."""

import re

NAMES = {  # a unit: the words for it, without the plural's s
    "percent": "percent pct",
    "degree": "degree deg ° ^\\circ",
    "dollar": "dollar usd buck",
    "cent": "cent",
    "euro": "euro €",
    "pound": "pound lb",
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
    "mile/hour": "mph",
    "km/hour": "kph",
    "km/second": "kps",
}
SHORT = {"m": "m", "g": "g", "s": "second", "h": "hour", "l": "liter", "L": "liter"}  # only inside \text{}
UNITS = {word: unit for unit, words in NAMES.items() for word in words.split()}
POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}
WRITTEN_POWER = re.compile(r"\^\{?([23])\}?")


def unit_of(words: str, in_text: bool) -> str | None:
    """The unit that these words name, such as "mile/hour" or "cm^2"; None where a word is no unit.

    in_text: the words stand inside \\text{}, where a single letter is a unit and not a variable.
    """
    parts = re.split(r"\s*(?:/|\bper\b)\s*", words.strip(" .~\\,"))
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
