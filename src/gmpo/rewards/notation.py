"""How an answer is written: its text without ornament, its unit, its percent sign.

Everything here takes time linear in the answer and evaluates nothing, so it runs in the trainer's process.
"""

import re
from dataclasses import dataclass, replace

from gmpo.rewards.numbers import Number, read_number, read_numeral, same_number
from gmpo.rewards.ornament import without_ornament
from gmpo.rewards.times import same_time
from gmpo.rewards.units import SHORT, without_unit
from gmpo.rewards.words import choice, counted, letter, phrase, with_scale, without_lead

LONGEST_ANSWER = 1000  # characters; of a longer one only the text counts
GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?P<mark>[, ])\d{3}(?:(?P=mark)\d{3})*(?![\d/]|,\d)(?!\s*\\frac)")
BRACKETED_PAIR = re.compile(r"[(\[{]\s*\d{1,3}(?:,\d{3})+\s*[)\]}]")
MONEY = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "₹": "rupee"}
AMOUNT_OF_MONEY = re.compile(r"-?\s?([$€£¥₹])\s?-?[\d.]")
SUFFIXED = re.compile(r"(.*[\d}])\s?\^?\s?\{?(?:\\text\s?\{)?\s?([mgshlL]|st|nd|rd|th|[ap]m)\s?\}{0,2}")
EXPONENT = re.compile(r"(-?[\d.]+)[eE]([+-]?\d{1,3})")


@dataclass(frozen=True)
class Written:
    """An answer, and what was written around it."""

    text: str
    unit: str | None = None
    percent: bool = False
    choice: str | None = None  # the letter before it

    @property
    def number(self) -> Number | None:
        """The number that the text is, where it is one and nothing more."""
        return read_number(self.text)


def read(answer: str) -> Written:
    """Take ornament, words, unit and percent sign off an answer."""
    text = without_lead(without_ornament(answer))
    labelled = choice(text)
    if labelled is not None:
        return replace(_read(labelled[1]), choice=labelled[0])
    return _read(text)


def _read(text: str) -> Written:
    money = AMOUNT_OF_MONEY.match(text)
    currency = MONEY[money[1]] if money and text.count(money[1]) == 1 else None
    text = (text.replace(money[1], "") if money else text).replace("$", "").strip().rstrip(".,;:").rstrip()
    if "%" in text:
        text = counted(text) or text
    if text.endswith("%"):
        return Written(_plain_number(text.rstrip("% ")), currency, percent=True)
    text, unit = without_unit(with_scale(text))
    if unit == "percent":
        return Written(_plain_number(text), currency, percent=True)
    text = _plain_number(text)
    if unit is None and read_number(text) is None:
        before = counted(text)
        number = _plain_number(before) if before else ""
        text = number if read_number(number) else text
    return Written(text, unit or currency)


def _plain_number(text: str) -> str:
    """Without marks between thousands, and with a power of ten for an e."""
    if exponent := EXPONENT.fullmatch(text):
        return f"{exponent[1]} \\times 10^{{{int(exponent[2])}}}"
    return _without_grouping(text)


def _without_grouping(text: str) -> str:
    """1,000 and 1 000 become 1000; a tuple such as (1,234) is left alone."""
    if BRACKETED_PAIR.search(text):
        return text
    return GROUPED.sub(lambda found: re.sub("[, ]", "", found.group()), text)


def canonical(answer: str) -> str:
    """The same text for answers that are plainly the same: for counting votes."""
    if len(answer) > LONGEST_ANSWER:
        return answer
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
    if answer.choice or gold.choice:
        letters = [w.choice or letter(w.text) for w in (answer, gold)]
        if None not in letters:
            return letters[0] == letters[1]
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


def _same_numeral(answer: str, gold: str) -> bool | None:
    """Digits are compared; a base that only one of them names counts for nothing."""
    numerals = [read_numeral(text) for text in (answer, gold)]
    if not any(numerals):
        return None
    (a, a_base), (b, b_base) = (n or (text, None) for n, text in zip(numerals, (answer, gold), strict=True))
    return a.upper() == b.upper() and (None in (a_base, b_base) or a_base == b_base)


def _same_with_suffix(answer: Written, gold: Written) -> bool | None:
    """12 m, 12th and 12 pm beside the number 12, where their letters can be no variables."""
    found = SUFFIXED.fullmatch(answer.text)
    if gold.number is None or found is None or (number := read_number(found[1])) is None:
        return None
    return same_number(number, gold.number) and (gold.unit is None or SHORT.get(found[2], gold.unit) == gold.unit)


def _same_phrase(answer: str, gold: str) -> bool | None:
    return True if phrase(gold) is not None and phrase(answer) == phrase(gold) else None
