"""Words around an answer: what leads to it, what is counted, millions, the letter of a choice."""

import re
import string

SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
SCALE = re.compile(rf"(?i)(?<=[\d}}])(\s{{0,9}}(?:\\text\s?\{{\s{{0,9}})?)({'|'.join(SCALES)})\b\s{{0,9}}")
EMPTY = re.compile(r"\\text\s?\{\s*\}")
LEAD = re.compile(r"\\approx|\\simeq|\\sim(?![A-Za-z])|=|\\text\s?\{[^{}]*(?:[:=]|\b(?:is|are|equals))\s*\}")
SENTENCE = re.compile(r"(?:\\text\s?\{\s*)?[A-Za-z][A-Za-z ,']*\b(?:is|are|equals):?\s+(?=[-\d$\\(.])")
IN_TEXT = re.compile(r"\\text\s?\{\s*(-?\$?-?\.?\d[^{}]*|[A-Z](?:, ?[A-Z])+)\}")  # a number, or letters of choices
CHOICE = re.compile(  # a letter and what it stands for
    r"(?:\\text\s?\{\s*\(?(?P<text>[A-J])\)?[.:]?\s*\}|\\text\s?\{\s*\(?(?P<within>[A-J])[).:](?=\s[^{}]*\})|"
    r"\((?P<round>[A-J])\)(?=\s)|(?P<dotted>[A-J])[).:](?=\s))\s*(?P<rest>[\w\\$.{-].*)"
)
LETTER = re.compile(r"(?:\\text\s?)?\{?\s*\(?([A-J])\)?[.:]?\s*\}?(?!\w)")
LIST = re.compile(r"(?:\\text\s?\{)?\s*(?:and|or|,)\b")
# words that make another answer of the number beside them
TELLING = re.compile(
    r"(?i)(?<![\\A-Za-z])(?:if|when|otherwise|than|least|most|more|less|between|not|except|remainder|mod|base|dozen|"
    rf"half|halves|times|squared|cubed|factorial|plus|minus|over|sin|cos|tan|log|ln|exp|sqrt|thirds|"
    rf"(?:four|fif|six|seven|eigh|nin|ten|hundred|thousand|million)ths|{'|'.join(SCALES)})\b"
    r"|\\text\s?\{(?:[^{}]*[A-Za-z] +(?:and|or)\b|[^{}]*\b(?:and|or) +[A-Za-z])"
)
WORD = string.ascii_letters + " .,'/()-"
COUNTED = re.compile(r"\\text\s?\{[^{}\d]*\}|[\s(].*[A-Za-z]{3}.*")
JOINED = re.compile(r"(?i)\b(?:and|or|to)\b")
PHRASE = re.compile(r"(?=.*[A-Za-z]{3})[A-Za-z][\w ,'.-]*")
TEXT = re.compile(r"\\(?:text|operatorname)\s?\{([^{}]*)\}")


def without_lead(text: str) -> str:
    """Without what leads to the answer: `\\approx`, `\\text{Total: }`, "The answer is"."""
    if found := LEAD.match(text):
        return text[found.end() :].strip()
    if found := SENTENCE.match(text):
        rest = text[found.end() :]
        return rest.removesuffix("}") if rest.count("}") > rest.count("{") else rest
    found = IN_TEXT.fullmatch(text)
    return found[1].strip() if found else text


def with_scale(text: str) -> str:
    """1.5 million as 1.5 times a power of ten."""
    scaled = SCALE.sub(lambda found: f" \\times 10^{{{SCALES[found[2].lower()]}}}{found[1].rstrip()} ", text)
    return EMPTY.sub("", scaled).strip()


def counted(text: str) -> str | None:
    """What stands before the words that say what is counted, such as "apples"; None where no such words follow."""
    at = text.find("\\text") if "\\text" in text else len(text.rstrip(WORD))
    words = text[at:]
    if not COUNTED.fullmatch(words) or TELLING.search(words) or JOINED.search(words):
        return None
    return text[:at].strip()


def choice(text: str) -> tuple[str, str] | None:
    """Letter and answer of "(B) 12"."""
    found = CHOICE.fullmatch(text)
    if (
        found is None
        or LETTER.match(found["rest"])
        or LIST.match(found["rest"])
        or (found["round"] and found["rest"].startswith("-"))
    ):
        return None
    letter = found["text"] or found["within"] or found["round"] or found["dotted"]
    return letter, found["rest"].removesuffix("}") if found["within"] else found["rest"]


def letter(text: str) -> str | None:
    """Of an answer that is a choice's letter and nothing more."""
    found = LETTER.fullmatch(text)
    return found[1] if found else None


def phrase(text: str) -> str | None:
    """An answer in words, without markup, capitals and its article."""
    words = TEXT.sub(r"\1", text).strip("{} .")
    if not PHRASE.fullmatch(words):
        return None
    return re.sub(r"^(?:the|an|a) ", "", " ".join(words.casefold().split()))


def bare(text: str) -> str:
    """Without markup, blanks and capitals."""
    return re.sub(r"[\s{}\\.]", "", TEXT.sub(r"\1", text)).casefold()
