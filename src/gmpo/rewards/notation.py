"""How an answer is written: its text without ornament, its unit, its percent sign.

Everything here takes linear time and evaluates nothing, so it runs in the trainer's process.
"""

import re
from dataclasses import dataclass

from gmpo.rewards.numbers import Number, read_number, read_numeral, same_number
from gmpo.rewards.units import unit_of

PLAIN = {  # what says the same in plain LaTeX
    "\\\\": "\\\\",  # the end of a row, not a backslash and a blank
    **{"\u2212": "-", "\u2013": "-", "\u00d7": "\\times ", "·": "\\cdot ", "÷": "/", "\u00a0": " ", "\uff05": "%"},
    **{"π": "\\pi ", "∞": "\\infty ", "√": "\\sqrt ", "°": "^\\circ ", "½": "\\frac{1}{2}", "²": "^2", "³": "^3"},
    **{"≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "±": "\\pm ", "\u222a": "\\cup ", "∩": "\\cap ", "∅": "\\emptyset "},
    **{"\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\leq": "\\le", "\\geq": "\\ge"},
    **{"\\mbox": "\\text", "\\textrm": "\\text", "\\textbf": "\\text", "\\textit": "\\text", "\\mathrm": "\\text"},
    **{"\\lbrace": "\\{", "\\rbrace": "\\}", "\\varnothing": "\\emptyset", "\\degree": "^\\circ ", "{,}": ","},
    **{"\\$": "$", "\\%": "%", "\\(": "", "\\)": "", "\\[": "", "\\]": "", "\\left": "", "\\right": "", "\\rm": ""},
    **{"\\!": "", "\\displaystyle": "", "\\,": " ", "\\;": " ", "\\:": " ", "\\ ": " ", "~": " "},
}
ORNAMENT = re.compile("|".join(re.escape(key) + ("(?![A-Za-z])" if key[-1].isalpha() else "") for key in PLAIN))
GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?P<mark>[, ])\d{3}(?:(?P=mark)\d{3})*(?![\d/])(?!\s*\\frac)")
BRACKETED_PAIR = re.compile(r"[(\[{]\s*\d{1,3}(?:,\d{3})+\s*[)\]}]")
DEGREES = re.compile(r"\^\s?(?:\{\s?\\circ\s?\}|\\circ)$")
TEXT_AT_END = re.compile(r"\\text\s?\{([^{}]*)\}(\s?\^\s?\{?[23]\}?)?$")
WORDS_AT_END = re.compile(r"(?<=[\d})\s])([A-Za-z][A-Za-z./ ]*)(\^\{?[23]\}?)?$")


@dataclass(frozen=True)
class Written:
    """An answer, and what was written around it."""

    text: str
    unit: str | None = None
    percent: bool = False

    @property
    def number(self) -> Number | None:
        """The number that the text is, where it is one and nothing more."""
        return read_number(self.text)


def read(answer: str) -> Written:
    """Take ornament, unit and percent sign off an answer."""
    text = ORNAMENT.sub(lambda found: PLAIN[found.group()], answer.strip().strip("*_")).strip()
    currency = "dollar" if re.match(r"-?\s?\$\s?-?[\d.]", text) and text.count("$") == 1 else None
    text = text.replace("$", "").strip().rstrip(".,;:").rstrip()
    if text.endswith("%"):
        return Written(_without_grouping(text.rstrip("% ")), currency, percent=True)
    text, unit = _without_unit(text)
    if unit == "percent":
        return Written(_without_grouping(text), currency, percent=True)
    return Written(_without_grouping(text), unit or currency)


def _without_unit(text: str) -> tuple[str, str | None]:
    """The text before a unit at its end, and the unit."""
    if degrees := DEGREES.search(text):
        return text[: degrees.start()].rstrip(), "degree"
    for pattern in (TEXT_AT_END, WORDS_AT_END):
        found = pattern.search(text)
        if found is not None and any(c.isdigit() for c in text[: found.start()]):
            unit = unit_of(found[1] + (found[2] or "").replace(" ", ""), in_text=pattern is TEXT_AT_END)
            if unit is not None:
                return text[: found.start()].rstrip(" -"), unit
    return text, None


def _without_grouping(text: str) -> str:
    """1,000 and 1 000 become 1000; a tuple such as (1,234) is left alone."""
    if BRACKETED_PAIR.search(text):
        return text
    return GROUPED.sub(lambda found: re.sub("[, ]", "", found.group()), text)


def canonical(answer: str) -> str:
    """The same text for answers that are plainly the same: for counting votes."""
    written = read(answer)
    text = str(written.number.value) if written.number else "".join(written.text.split()).casefold()
    return text + "%" * written.percent


def decide(answer: Written, gold: Written) -> bool | None:
    """Whether two answers are the same where their notation alone shows it, else None.

    Amounts in different units differ; a unit that only one of them has counts for nothing.
    """
    if answer.unit and gold.unit and answer.unit != gold.unit:
        return False
    if answer.text.casefold() == gold.text.casefold() and answer.percent == gold.percent:
        return answer.text == gold.text or None
    in_base = [read_numeral(written.text) for written in (answer, gold)]
    if any(in_base):
        return _same_numeral(*(n or (w.text, None) for n, w in zip(in_base, (answer, gold), strict=True)))
    a, b = answer.number, gold.number
    if a is None or b is None:
        return None
    return same_number(a, b) or (
        answer.percent != gold.percent
        and same_number(a.divided_by_100() if answer.percent else a, b.divided_by_100() if gold.percent else b)
    )


def _same_numeral(a: tuple[str, int | None], b: tuple[str, int | None]) -> bool:
    """Digits are compared; a base that only one of them names counts for nothing."""
    return a[0].upper() == b[0].upper() and (None in (a[1], b[1]) or a[1] == b[1])
