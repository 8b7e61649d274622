"""The letters of choices: (B), "Option B", "(B) 12", and several of them, "A, B and D"."""

import re

from gmpo.verifier.words import TEXT

NAMED = re.compile(r"(?i)(?:the )?(?:correct )?(?:answer|option|choice)\s?(?:is|:)?\s?|(?:故?选项?|选择)\s?:?\s?")
VERDICT = re.compile(r"(?i)\s(?:is|are) (?:the )?(?:correct|right|true)(?: (?:answer|choice|option))?$")
LETTER = re.compile(r"\{?\s*\(?\s*\{?([A-J])\}?\s*\)?[.:]?\s*\}?")
CHOICE = re.compile(  # a letter and the answer after it
    r"(?:\\text\s?\{\s*\(?(?P<text>[A-J])\)?[.:]?\s*\}[.:]?|\\text\s?\{\s*\(?(?P<within>[A-J])[).:](?=\s[^{}]*\})|"
    r"\{?\((?P<round>[A-J])\)\}?:?(?=\s)|(?P<dotted>[A-J])(?:[).:](?=\s)|\s*\\text\s?\{\s*\}))\s*(?P<rest>[\w\\$.{-].*)",
    re.DOTALL,
)
ANOTHER = re.compile(r"(?<![A-Za-z\d_^}\\(])(?:\\text\s?\{\s*)?(?:\([A-J]\)|[A-J][).:](?=\s*[^\s}]))")
ANOTHER_FIRST = re.compile(r"(?:\\text\s?)?\{?\s*\(?[A-J]\)?[.:]?\s*\}?(?!\w)")
LIST = re.compile(r"(?:\\text\s?\{)?\s*(?:and|or|,)\b")
SEPARATED = re.compile(r"(?i)\band\b|\bor\b|[\s,;&{}()\\.]")


def choice(text: str) -> tuple[str, str] | None:
    """Return letter and answer of "(B) 12"; None where another choice's letter follows."""
    found = CHOICE.fullmatch(_unnamed(text))
    if found is None:
        return None
    rest = found["rest"]
    if ANOTHER_FIRST.match(rest) or LIST.match(rest) or ANOTHER.search(rest):
        return None
    if found["round"] and rest.startswith("-"):
        return None
    letter = found["text"] or found["within"] or found["round"] or found["dotted"]
    return letter, rest.removesuffix("}") if found["within"] else rest


def letter(text: str) -> str | None:
    """Return the letter of an answer that is only a choice's letter."""
    text = VERDICT.sub("", _unnamed(" ".join(TEXT.sub(r"\1", text).split())))
    found = LETTER.fullmatch(text.removesuffix("."))
    if found is None:
        text = text.strip("() ")
        return text.upper() if re.fullmatch("[a-d]", text) else None
    return found[1]


def letters(text: str) -> frozenset[str] | None:
    """Return the letters of an answer of several choices, in any order; None for any other answer."""
    plain = SEPARATED.sub("", TEXT.sub(r"\1 ", text))
    if len(plain) < 2 or not re.fullmatch("[A-J]+", plain) or len(set(plain)) < len(plain):
        return None
    return frozenset(plain)


def _unnamed(text: str) -> str:
    """Return the answer without words such as "Option" before its letter."""
    whole = re.fullmatch(r"\\text\s?\{([^{}]*)\}", text)
    inside = whole[1].strip() if whole else text
    named = NAMED.match(inside)
    return inside[named.end() :] if named and named.end() else text
