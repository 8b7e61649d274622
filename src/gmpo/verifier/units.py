"""Units of measurement in answers. Amounts are not converted: 5 m and 500 cm differ."""

import re
from collections import Counter
from dataclasses import dataclass

from gmpo.verifier.words import JOINED, TELLING

NAMES = {  # a unit: the words for it, without the plural's s
    "percent": "percent pct",
    "degree": "degree deg ° ^\\circ 度",
    "radian": "radian rad",
    "dollar": "dollar usd buck",
    "cent": "cent",
    "euro": "euro € eur",
    "pound": "pound lb £ gbp",
    "yen": "yen ¥",
    "yuan": "yuan rmb 元",
    "rupee": "rupee ₹ inr",
    "m": "meter metre 米",
    "inch": "inch inche in",
    "foot": "foot feet ft",
    "yard": "yard yd",
    "mile": "mile mi",
    "km": "公里 千米",
    "cm": "厘米",
    "mm": "毫米",
    "light-year": "light-year lightyear ly",
    "astronomical unit": "au",
    "parsec": "parsec pc",
    "furlong": "furlong",
    "nautical mile": "nmi",
    "g": "gram gm 克",
    "kg": "公斤 千克",
    "ton": "ton tonne",
    "ounce": "ounce oz",
    "stone": "stone",
    "liter": "liter litre 升",
    "gallon": "gallon gal",
    "quart": "quart qt",
    "pint": "pint",
    "cup": "cup",
    "tablespoon": "tablespoon tbsp",
    "teaspoon": "teaspoon tsp",
    "barrel": "barrel bbl",
    "second": "second sec 秒",
    "minute": "minute min 分钟",
    "hour": "hour hr 小时",
    "day": "day 天",
    "week": "week 周",
    "month": "month",
    "year": "year yr 年",
    "decade": "decade",
    "century": "century centurie",
    "hectare": "hectare ha 公顷",
    "acre": "acre",
    "N": "newton",
    "J": "joule",
    "W": "watt",
    "V": "volt",
    "A": "ampere amp",
    "C": "coulomb",
    "F": "farad",
    "H": "henry henrie",
    "T": "tesla",
    "Wb": "weber",
    "ohm": "ohm Ω \\Omega",
    "Hz": "hertz",
    "Pa": "pascal",
    "K": "kelvin",
    "mol": "mole",
    "eV": "electronvolt electron-volt",
    "cal": "calorie",
    "bar": "bar",
    "atm": "atm atmosphere",
    "torr": "torr",
    "mmHg": "mmhg",
    "psi": "psi",
    "Btu": "btu",
    "horsepower": "horsepower hp",
    "erg": "erg",
    "dyne": "dyne dyn",
    "gauss": "gauss",
    "angstrom": "angstrom ångström å \\AA",
    "lumen": "lumen lm",
    "lux": "lux",
    "candela": "candela cd",
    "bit": "bit",
    "byte": "byte",
    "dB": "decibel",
    "knot": "knot",
    "unit": "unit",
    "mile/hour": "mph",
    "km/hour": "kph kmh kmph",
    "km/second": "kps",
    "round/minute": "rpm",
}
ANY_UNIT = ("unit", "unit^2", "unit^3")
SHORT = {"m": "m", "g": "g", "s": "second", "h": "hour", "l": "liter", "L": "liter"}  # only inside \text{}
SI_SYMBOLS = "N J W V A C F H T K Hz Pa mol eV cal Wb bar B Bq Gy Sv rad"
SYMBOLS = SHORT | {s: s for s in SI_SYMBOLS.split()}
SYMBOLS |= {"sec": "second", "\\Omega": "ohm", "Ω": "ohm", "b": "bit", "bps": "bit/second", "pc": "parsec"}
PREFIXES = ("k", "M", "G", "T", "P", "m", "\\mu", "μ", "u", "n", "p", "f", "c", "d", "h")
PREFIX_WORDS = {"kilo": "k", "mega": "M", "giga": "G", "tera": "T", "milli": "m", "micro": "\\mu", "nano": "n"}
PREFIX_WORDS |= {"pico": "p", "centi": "c", "deci": "d", "femto": "f", "hecto": "h"}
WORDS = {word: unit for unit, words in NAMES.items() for word in words.split()}
PREFIXED = {
    **{prefix + s: ("\\mu" if prefix in "μu" else prefix) + unit for prefix in PREFIXES for s, unit in SYMBOLS.items()},
    "kph": "km/hour",
    "ms": "msecond",
    "min": "minute",
    "Pa": "Pa",
    "cd": "candela",
    "ft": "foot",
    "pt": "pint",
    "mb": "mbar",
}
DERIVED = {  # units in other units, without a factor
    "N": {"kg": 1, "m": 1, "second": -2},
    "J": {"kg": 1, "m": 2, "second": -2},
    "W": {"kg": 1, "m": 2, "second": -3},
    "Pa": {"kg": 1, "m": -1, "second": -2},
    "V": {"kg": 1, "m": 2, "second": -3, "A": -1},
    "ohm": {"kg": 1, "m": 2, "second": -3, "A": -2},
    "C": {"A": 1, "second": 1},
    "Hz": {"second": -1},
    "mile/hour": {"mile": 1, "hour": -1},
    "km/hour": {"km": 1, "hour": -1},
    "km/second": {"km": 1, "second": -1},
    "bit/second": {"bit": 1, "second": -1},
}
PREFIXED.pop("pm")  # means p.m.
POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3", "squared": "^2", "cubed": "^3", "平方": "^2"}
WRITTEN_POWER = re.compile(r"\^\{?(-?[1-9])\}?")
DEGREES = re.compile(
    r"\^\s?\{?\s?(?:\\circ|\\text\s?\{\s?o\s?\}|o)\s?\}?(?:\s*(?:\\text\s?\{\s?)?([CF]|(?i:celsius|fahrenheit))\s?\}?)?$"
)
TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
IN_TEXT = re.compile(r"\\text\s?\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
SYMBOL = (
    r"(?:(?:\\mu\s*)?\\text\s?\{\s?[^{}\d\s][^{}\d]*(?:\d[^{}\d]*|\{-?\d\}[^{}\d]*)*\}|\\(?:mu|Omega|AA)(?![A-Za-z]))"
)
RAISED = r"(?:\s?\^\s?(?:\{\s?-?\d\s?\}|\d))"
SYMBOL_AT_END = re.compile(rf"{SYMBOL}{RAISED}?$")
# several symbols, a power, or a quotient: unambiguous
COMPOUND_AT_END = re.compile(
    rf"(?:/\s?{SYMBOL}{RAISED}?|{SYMBOL}{RAISED}?(?:\s?(?:/|\\cdot(?![A-Za-z]))?\s?{SYMBOL}{RAISED}?)+|{SYMBOL}{RAISED}|"
    r"\\mu\s*\\text\s?\{[^{}]*\}|\\text\s?\{\s?[kMGm]\s?\}\s?\\Omega|\\(?:Omega|AA))$"
)
PRODUCT = rf"{SYMBOL}{RAISED}?(?:\s?\\cdot\s?{SYMBOL}{RAISED}?)*"
QUOTIENT = re.compile(rf"\\frac\s?\{{\s?({PRODUCT})\s?\}}\s?\{{\s?({PRODUCT})\s?\}}$")
WORDS_AT_END = re.compile(r"(?<=[\d})\s])([A-Za-z][A-Za-z./ -]*|[€£¥₹]|平?方?[一-鿿]{1,3})(\^\{?[23]\}?)?$")
CHINESE_AT_END = re.compile(r"\\text\s?\{\s*(平?方?[一-鿿]{1,3})\s*\}$")
IN_DEGREES = re.compile(r"(?i)deg(?:ree)?s? (C|F|celsius|fahrenheit)")
TWO_LETTERS = re.compile(r"(?!pi|mu|nu|xi|am|pm)[A-Za-z]{2}")
LONGEST = 80  # characters at the end that are searched for a unit


@dataclass(frozen=True)
class Unit:
    """A unit of an answer."""

    name: str | None  # as in NAMES; None for a unit that is not there
    measured: str | None  # must agree if both answers have one: base units with their powers


NONE = Unit(None, None)


def without_unit(text: str) -> tuple[str, Unit]:
    """Split a text into the part before a unit at its end, and the unit.

    Text that can only be a unit is split off even if the unit is unknown. The degrees of a sine are no unit.
    """
    if degrees := DEGREES.search(text):
        if TRIGONOMETRIC.search(text):
            return text, NONE
        return text[: degrees.start()].rstrip(), _degrees(degrees[1])
    text = QUOTIENT.sub(r"\1/\2", text)
    end = max(0, len(text) - LONGEST)
    for pattern in (COMPOUND_AT_END, SYMBOL_AT_END, CHINESE_AT_END, WORDS_AT_END):
        found = pattern.search(text, end)
        if found is None or not any(c.isdigit() for c in text[: found.start()]):
            continue
        words = _plain(found.group())
        unit = unit_of(words, in_text=pattern is not WORDS_AT_END)
        if unit is None and (pattern is WORDS_AT_END or TELLING.search(words) or JOINED.search(words)):
            continue
        before = text[: found.start()].rstrip(" -")
        if temperature := IN_DEGREES.fullmatch(words.strip(" .")):
            return before, _degrees(temperature[1])
        if unit in ANY_UNIT:
            return before, NONE
        if unit is not None or pattern is COMPOUND_AT_END or "^" in words or TWO_LETTERS.fullmatch(words.strip(" .")):
            return before, Unit(unit, measured(words))
    return text, NONE


def _plain(written: str) -> str:
    """Return the words and symbols of a unit, separated by blanks."""
    words = re.sub(r"\s?\^\s?", "^", IN_TEXT.sub(r" \1 ", written).replace("\\cdot", " "))
    return re.sub(r"\b([kMGm])\s+\\Omega", r"\1\\Omega", re.sub(r"\\mu\s+", r"\\mu", words))


def _degrees(scale: str | None) -> Unit:
    return Unit("degree", f"degree^1 {scale[0].upper()}" if scale else "degree^1")


def measured(words: str) -> str:
    """Return base units with their powers, the same for N and kg m/s^2, but not for m/s and m s."""
    powers: Counter[str] = Counter()
    for place, part in enumerate(re.split(r"/|\bper\b", words)):
        raised = None
        for word in re.sub(r"[()~,]", " ", part).split():
            plain, power = WRITTEN_POWER.sub("", word).strip("."), WRITTEN_POWER.search(word)
            if plain.lower() in POWERS and not powers.get(plain):
                raised = int(POWERS[plain.lower()][1])
                continue
            if plain.startswith("平方"):
                plain, raised = plain[2:], 2
            unit = _named(plain, in_text=True) or f"?{plain}"
            exponent = int(power[1]) if power else raised or 1
            for base, times in DERIVED.get(unit, {unit: 1}).items():
                powers[base] += exponent * times * (-1 if place else 1)
    return " ".join(f"{base}^{power}" for base, power in sorted(powers.items()) if power)


def same_measure(a: str | None, b: str | None) -> bool:
    """Return whether two amounts measure the same quantity; degrees may be those of a temperature."""
    if a is None or b is None or a == b:
        return True
    return "degree^1" in (a, b) and a.startswith("degree") and b.startswith("degree")


def unit_of(words: str, in_text: bool) -> str | None:
    """Return the unit that these words name, such as "mile/hour" or "cm^2"; None if a word is not a unit.

    in_text: the words are inside \\text{}, where a single letter is a unit and not a variable.
    """
    parts = re.split(r"\s*(?:/|\bper\b)\s*", words.strip(" .~,"))
    in_text = in_text or any(_one_unit(part, in_text=False) for part in parts[:1])  # km/h
    named = [_one_unit(part, in_text) for part in parts]
    return "/".join(unit for unit in named if unit is not None) if None not in named else None


def _one_unit(words: str, in_text: bool) -> str | None:
    power = "".join(f"^{found}" for found in WRITTEN_POWER.findall(words))
    unit = None
    for word in WRITTEN_POWER.sub("", words).replace("~", " ").split():
        plain = word.strip(".")
        if plain.lower() in POWERS:
            power = POWERS[plain.lower()]
            continue
        if plain.startswith("平方") and len(plain) > 2:
            power, plain = "^2", plain[2:]
        found = _named(plain, in_text)
        if found is None or unit is not None:
            return None
        unit = found
    return None if unit is None else unit + power


def _named(word: str, in_text: bool) -> str | None:
    """Return the unit that one word names; a symbol that may be variables counts only inside \text{}."""
    lower = word.lower()
    if found := WORDS.get(lower) or WORDS.get(lower.removesuffix("s")):
        return found
    if lower in ("mm", "cm", "km", "kg", "ml"):
        return PREFIXED[lower]
    for prefix, symbol in PREFIX_WORDS.items():
        rest = lower.removeprefix(prefix)
        if rest != lower and (base := WORDS.get(rest) or WORDS.get(rest.removesuffix("s"))):
            return symbol + base
    return SYMBOLS.get(word) or PREFIXED.get(word) if in_text else None
