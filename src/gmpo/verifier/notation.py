"""The notation of an answer: its text without clutter, its unit, its percent sign.

All functions take time linear in the answer and evaluate nothing, so they run in the trainer's process.
"""

import re
from dataclasses import dataclass, replace

from gmpo.verifier.choices import choice, letter, letters
from gmpo.verifier.ellipsis import has_ellipsis, same_with_ellipsis
from gmpo.verifier.latex_cleanup import clean_latex
from gmpo.verifier.number_words import in_digits
from gmpo.verifier.numbers import Number, read_number, read_numeral, same_number
from gmpo.verifier.times import same_time
from gmpo.verifier.units import SHORT, measured, same_measure, unit_of, without_unit
from gmpo.verifier.words import TEXT, counted, phrase, same_words, with_scale, without_lead

LONGEST_ANSWER = 1000  # characters; longer answers are compared as text only
GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?P<mark>[, ])\d{3}(?:(?P=mark)\d{3})*(?![\d/]|,\d)(?!\s*\\frac)")
BRACKETED_PAIR = re.compile(r"[(\[{]\s*\d{1,3}(?:,\d{3})+\s*[)\]}]")
ALL_REALS = ("all real numbers", "all reals", "set of real numbers", "set of all real numbers", "any real number")
INTEGER = re.compile(r"-?[0-9]+")
MONEY = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "₹": "rupee"}
MONEY_CODE = re.compile(
    r"(?:\\text\s?\{\s?)?(?:(US|CA|AU)\s?\$|(USD|EUR|GBP|Rs\.?|INR|RMB|CNY))(?:\s?\})?\s?(?=-?\.?\d)"
)
MONEY_CODES = {"EUR": "€", "GBP": "£", "Rs": "₹", "INR": "₹"}
AMOUNT_OF_MONEY = re.compile(r"-?\s?([$€£¥₹])\s?-?[\d.]")
SUFFIXED = re.compile(
    r"(.*[\d}])\s?(?:(?:\\text\s?\{)?\s?([mgshlL]|[ap]\.?m\.?)\s?\}?|\^?\s?\{?(?:\\text\s?\{)?\s?(?:st|nd|rd|th)\s?\}{0,2})"
)
BARE_UNIT = re.compile(
    r"(.*[\d})])\s([A-Za-z]{1,4}(?:\^\{?-?\d\}?)?(?:\s?(?:/|\\cdot)\s?[A-Za-z]{1,4}(?:\^\{?-?\d\}?)?)*)"
)
EXPONENT = re.compile(r"(-?[\d.]+)[eE]([+-]?\d{1,3})")


@dataclass(frozen=True)
class ParsedAnswer:
    """An answer, and the notation around it."""

    text: str
    unit: str | None = None
    percent: bool = False
    choice: str | None = None  # the letter before it
    measured: str | None = None  # the full unit: also of a unit without a name, and with the scale of degrees

    @property
    def number(self) -> Number | None:
        """The number, if the text is only a number."""
        return read_number(self.text)


def parse_answer(answer: str) -> ParsedAnswer:
    """Strip clutter, words, unit and percent sign from an answer."""
    if INTEGER.fullmatch(answer):
        return ParsedAnswer(answer)  # most answers are plain numbers
    text = without_lead(clean_latex(answer))
    labelled = choice(text)
    if labelled is not None:
        return replace(_read(labelled[1]), choice=labelled[0])
    return _read(text)


def _read(text: str) -> ParsedAnswer:
    text = MONEY_CODE.sub(
        lambda found: MONEY_CODES.get((found[2] or "").strip("."), "¥" if found[2] in ("RMB", "CNY") else "$"),
        text,
        count=1,
    )
    money = AMOUNT_OF_MONEY.match(text)
    currency = MONEY[money[1]] if money and text.count(money[1]) == 1 else None
    text = (text.replace(money[1], "") if money else text).replace("$", "").strip()
    text = text.rstrip(".,;:").rstrip() if not has_ellipsis(text) else text
    measured_in = f"{currency}^1" if currency else None
    if "%" in text:
        text = counted(text) or text
    if text.endswith("%"):
        return ParsedAnswer(_plain_number(text.rstrip("% ")), currency, percent=True, measured=measured_in)
    if phrase(text) in ALL_REALS:
        return ParsedAnswer("\\mathbb{R}")
    if digits := in_digits(TEXT.sub(r"\1", text)):
        return ParsedAnswer(digits)
    text, unit = without_unit(with_scale(text))
    if unit.name == "percent":
        return ParsedAnswer(_plain_number(text), currency, percent=True, measured=measured_in)
    text = _plain_number(text)
    if unit.measured is None and read_number(text) is None:
        before = counted(text)
        number = _plain_number(before) if before else ""
        text = number if read_number(number) else text
    return ParsedAnswer(text, unit.name or currency, measured=measured_in or unit.measured)


def _plain_number(text: str) -> str:
    """Return a number without thousands separators, and with a power of ten in place of an e."""
    if exponent := EXPONENT.fullmatch(text):
        return f"{exponent[1]} \\times 10^{{{int(exponent[2])}}}"
    return _without_grouping(text)


def _without_grouping(text: str) -> str:
    """Turn 1,000 and 1 000 into 1000, but not a tuple such as (1,234)."""
    if BRACKETED_PAIR.search(text):
        return text
    return GROUPED.sub(lambda found: re.sub("[, ]", "", found.group()), text)


def canonical(answer: str) -> str:
    """Return the same text for answers that are obviously the same; votes are counted by it."""
    if len(answer) > LONGEST_ANSWER:
        return answer
    written = parse_answer(answer)
    text = str(written.number.value) if written.number else "".join(written.text.split()).casefold()
    return text + "%" * written.percent


def compare_notation(answer: ParsedAnswer, gold: ParsedAnswer) -> bool | None:
    """Return whether two answers are the same if their notation alone decides it, else None.

    Amounts in different units differ; a unit that only one of them has is ignored.
    """
    if not same_measure(answer.measured, gold.measured):
        return False
    if answer.text == gold.text and answer.percent == gold.percent:
        return True
    if has_ellipsis(answer.text) or has_ellipsis(gold.text):
        return same_with_ellipsis(answer.text, gold.text)
    if (verdict := _same_choice(answer, gold)) is not None:
        return verdict
    for same in (_same_numeral, same_time, _same_phrase):
        if (verdict := same(answer.text, gold.text)) is not None:
            return verdict
    a, b = answer.number, gold.number
    if a is None or b is None:
        return _same_with_suffix(answer, gold)
    return same_number(a, b) or (
        answer.percent != gold.percent
        and same_number(a.divided_by_100() if answer.percent else a, b.divided_by_100() if gold.percent else b)
    )


def _same_choice(answer: ParsedAnswer, gold: ParsedAnswer) -> bool | None:
    """Compare the letters of two choices if both name one; a list of letters may be in any order."""
    if answer.choice or gold.choice or letter(gold.text):
        named = [w.choice or letter(w.text) for w in (answer, gold)]
        return named[0] == named[1] if None not in named else None
    several = letters(gold.text)
    return True if several is not None and letters(answer.text) == several else None


def _same_numeral(answer: str, gold: str) -> bool | None:
    """Compare the digits of two numerals; a base that only one of them names is ignored."""
    numerals = [read_numeral(text) for text in (answer, gold)]
    if not any(numerals):
        return None
    (a, a_base), (b, b_base) = (n or (text, None) for n, text in zip(numerals, (answer, gold), strict=True))
    return a.upper() == b.upper() and (None in (a_base, b_base) or a_base == b_base)


def _same_with_suffix(answer: ParsedAnswer, gold: ParsedAnswer) -> bool | None:
    """Compare 12 m, 12th or 12 pm with the number 12 if the letters cannot be variables; also 10 m/s with a unit."""
    found = SUFFIXED.fullmatch(answer.text)
    if gold.number is not None and found is not None and (number := read_number(found[1])):
        return same_number(number, gold.number) and (gold.unit is None or SHORT.get(found[2], gold.unit) == gold.unit)
    for bare, other in ((answer, gold), (gold, answer)):
        found = BARE_UNIT.fullmatch(bare.text)
        if found and other.number and (other.measured or bare is answer) and (number := read_number(found[1])):
            words = found[2].replace("\\cdot", " ")
            known = unit_of(words, in_text=True)
            if known and other.measured in (None, measured(words)) and (other.measured or "/" in words):
                return same_number(number, other.number)
    return None


def _same_phrase(answer: str, gold: str) -> bool | None:
    return True if same_words(answer, gold) else None
