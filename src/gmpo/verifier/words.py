"""Words around an answer: lead-ins, counted things, millions."""

import re
import string

SCALES = {"hundred": 2, "thousand": 3, "lakh": 5, "million": 6, "crore": 7, "billion": 9, "trillion": 12}
CHINESE_SCALES = {"百": 2, "千": 3, "万": 4, "亿": 8}
SCALE = re.compile(
    rf"(?i)(?<=[\d}}])(\s{{0,9}}(?:\\text\s?\{{\s{{0,9}})?)(?:({'|'.join(SCALES)})s?\b|([百千万亿]))\s{{0,9}}"
)
EMPTY = re.compile(r"\\text\s?\{\s*\}")
CHINESE_LEAD = "(?:最[终后])?(?:答案|答|结果|解|所以|因此|故|共|共有)"
VALUE = r"(?:(?:min(?:imum|imal)?|max(?:imum|imal)?|least|greatest|largest|smallest|final|total|exact|common) ){0,3}"
VALUE += r"(?:value|number|answer|result|total|sum|min(?:imum)?|max(?:imum)?)"
LEAD = re.compile(
    r"\\approx|\\simeq|\\sim(?![A-Za-z])|=|\\(?:Rightarrow|Longrightarrow|implies|therefore|to|rightarrow)(?![A-Za-z])"
    r"|\\text\s?\{(?!\s*\(?[A-J]\)?:)[^{}]*(?:[:=]|\b(?:is|are|equals))\s*\}"
    rf"|(?i:\\text\s?\{{\s*(?:only|exactly|just|precisely|simply|so|thus|hence|therefore|(?:the )?{VALUE}),?\s*\}})"
    r"|\\(?:max|min|sup|inf)\s?=|\\(?:mathbb\s?\{?[PE]\}?|Pr)(?:\s?[(\[][^()\[\]=]*[)\]])?\s?="
    rf"|(?:\\text\s?\{{)?\s*{CHINESE_LEAD}\s?[是为]?\s?[:,]?\s?(?:\}}|(?=[-\\\d(\[A-Za-z选]))"
)
SENTENCE = re.compile(r"(?:\\text\s?\{\s*)?[A-Za-z][A-Za-z ,']*\b(?:is|are|equals):?\s+(?=[-\d$\\(.])")
IN_TEXT = re.compile(r"\\text\s?\{\s*(-?\$?-?\.?\d[^{}]*|[A-Z](?:, ?[A-Z])+)\}")  # a number, or letters of choices
# words that change the meaning of the number beside them
ORDINAL = r"(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf|[a-z]+teen|[a-z]+tie|hundred|thousand|million|billion)ths"
TELLING = re.compile(
    r"(?i)(?<![\\A-Za-z])(?:if|when|otherwise|than|least|most|more|less|between|not|except|remainder|mod|base|dozens?|"
    r"half|halves|times|squared|cubed|factorial|plus|minus|over|sin|cos|tan|log|ln|exp|sqrt|thirds|tens|"
    r"gross|ppm|ppb|mille|permille|basis|"
    rf"{ORDINAL}|(?:{'|'.join(SCALES)})s?)\b"
    r"|\\text\s?\{(?:[^{}]*[A-Za-z] +(?:and|or)\b|[^{}]*\b(?:and|or) +[A-Za-z])"
)
GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
WORD = string.ascii_letters + " .,'/()-"
COUNTED = re.compile(r"\\text\s?\{[^{}\d]*\}|[\s(].*[A-Za-z]{3}.*")
SMALL_WORDS = "of in to ok at by on per a an the is as it we no my our are sq cu oz"
TOKEN = re.compile(r"[^\s.,'/()-]+")
JOINED = re.compile(r"(?i)\b(?:and|or|to(?=\s*\}?$))\b")
LABEL = re.compile(r"(?<=[\d}])\s*(?:\\text\s?\{\s*)?\([A-J]\)\s*\}?$")
MEASURE_WORDS = "个種种人名位只条本支根张块颗棵件次组套对双辆架艘座所间头匹朵片页题道步"
CHINESE_COUNTED = re.compile(
    rf"(?<=[\d}})])\s*(?:\\text\s?\{{\s*)?[{MEASURE_WORDS}](?:不同的?)?(?:方法|情况|方案|可能|苹果|学生|人|解)?\s*\}}?$"
)
PHRASE = re.compile(r"(?=.*[A-Za-z]{3}|(?i:no|ok)$)[A-Za-z][\w ,'.-]*")
OTHER_SCRIPT = re.compile(r"[^\x00-\x7f][^\x00-\x40\\^_{}=<>|]*")
TEXT = re.compile(r"\\(?:text|operatorname)\s?\{([^{}]*)\}")
SYNONYMS = {"dne": "does not exist", "it does not exist": "does not exist"}
FILLER = re.compile(r"^(?:there (?:is|are|exists?) |the |an |a )+")


def without_lead(text: str) -> str:
    """Remove a lead-in to the answer: `\approx`, `\text{Total: }`, "The answer is"."""
    found = LEAD.match(text)
    if found and (rest := text[found.end() :].strip()):
        return without_lead(rest.removesuffix("}") if rest.count("}") > rest.count("{") else rest)
    if found := SENTENCE.match(text):
        rest = text[found.end() :]
        return rest.removesuffix("}") if rest.count("}") > rest.count("{") else rest
    found = IN_TEXT.fullmatch(text)
    return found[1].strip() if found else text


def with_scale(text: str) -> str:
    """Turn 1.5 million into 1.5 times a power of ten."""

    def power(found: re.Match[str]) -> str:
        exponent = SCALES[found[2].lower()] if found[2] else CHINESE_SCALES[found[3]]
        return f" \\times 10^{{{exponent}}}{found[1].rstrip()} "

    return EMPTY.sub("", SCALE.sub(power, text)).strip()


def counted(text: str) -> str | None:
    """Return the text before words for what is counted, such as "apples"; None without these words at the end.

    A word that may be a variable, a sign or part of the number does not qualify.
    """
    if found := CHINESE_COUNTED.search(text):
        return text[: found.start()].strip()
    if (found := LABEL.search(text)) and any(c.isdigit() for c in text[: found.start()]):
        return text[: found.start()].strip()
    at = text.find("\\text") if "\\text" in text else len(text.rstrip(WORD))
    words = text[at:]
    if not COUNTED.fullmatch(words) or TELLING.search(words) or JOINED.search(words):
        return None
    tokens = TOKEN.findall(TEXT.sub(r"\1", words))
    return text[:at].strip() if all(map(_is_word, tokens)) else None


def _is_word(token: str) -> bool:
    lower = token.lower()
    return lower in SMALL_WORDS.split() or (len(token) > 2 and token.isalpha() and lower not in GREEK.split())


def phrase(text: str) -> str | None:
    """Return an answer in words without markup, capitals, article and "there is"."""
    words = TEXT.sub(r"\1", text).strip("{} .")
    if not PHRASE.fullmatch(words):
        return words if OTHER_SCRIPT.fullmatch(words) else None
    plain = FILLER.sub("", " ".join(words.casefold().split()))
    plain = plain.removesuffix("s") if plain.startswith("no ") else plain
    return SYNONYMS.get(plain, plain)


def same_words(a: str, b: str) -> bool:
    """Return whether two answers are the same words; case matters where letters may be variables."""
    words = phrase(b)
    if words is None or phrase(a) != words:
        return False
    return a == b or any(map(TEXT.search, (a, b))) or a.casefold() != b.casefold() or all(map(_is_plain, words.split()))


def _is_plain(word: str) -> bool:
    """Return whether letters are a word rather than a product of variables such as mgh or abc."""
    return word in SMALL_WORDS.split() or (
        len(word) > 2 and any(vowel in word for vowel in "aeiouy") and "".join(sorted(word)) != word
    )
