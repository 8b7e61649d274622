"""Rewriting of notation that the parser does not read: sets, systems, matrices, intervals, degrees in radians."""

import re

from gmpo.verifier.units import TRIGONOMETRIC

SET_OF_PAIRS = re.compile(r"\\\{\s*(\(.*\))\s*\\\}")
REALS = r"(?:\\in\s*\\mathbb\s*\{?R\}?\s*)"
SUCH_THAT = re.compile(rf"\\\{{\s*[a-zA-Z]\s*{REALS}?(?:\\mid|\\vert|[:|])\s*(.*)\\\}}")
DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\^\s*\{?\s*\\circ\s*\}?")
SYSTEM = re.compile(r"\\begin\{(?:cases|aligned|array)\}(?:\{[clr]+\})?([^&]*)\\end\{(?:cases|aligned|array)\}")
ASSIGNMENTS = re.compile(r"(?<=[^\s,;])(?:\s{2,}|\s*(?:\\\\|\n)\s*)(?=[A-Za-z](?:_\{?\w+\}?)?\s*=)")
REAL_AND = re.compile(
    rf"([A-Za-z])\s*{REALS}\s*(?:,|;|\\text\s?\{{[ ,]*(?:and|with|such that|where)?\s*\}}|\\setminus)\s*(?=\1)"
)
ALL_BUT = re.compile(r"\\mathbb\s?\{?R\}?\s*-\s*(?=\\\{)")
HALF_LINES = (
    (re.compile(r"\\mathbb\s?\{?R\}?\s*_\s?\{?\s*(?:\\ge\s*0|\+\s*0|0\s*\+)\s*\}?"), r"[0,\\infty)"),
    (re.compile(r"\\mathbb\s?\{?R\}?\s*[_^]\s?\{?\s*(?:>\s*0|\+)\s*\}?"), r"(0,\\infty)"),
    (re.compile(r"\\mathbb\s?\{?R\}?\s*_\s?\{?\s*(?:\\le\s*0)\s*\}?"), r"(-\\infty,0]"),
    (re.compile(r"\\mathbb\s?\{?R\}?\s*[_^]\s?\{?\s*(?:<\s*0|-)\s*\}?"), r"(-\\infty,0)"),
)
EMPTY_SET = re.compile(r"\\\{\s*\\\}")
SEMICOLON = re.compile(r"(?<=[(\[\]])([^()\[\];,]+);([^()\[\];,]+)(?=[)\[\]])")
ENDS = re.compile(r"\s*([\[\](])([^\[\](),]+(?:\([^()]*\)[^\[\](),]*)?,[^\[\],]+)([\[\])])\s*")
UNION = re.compile(r"(\\cup|\\cap)(?![A-Za-z])")
ROWS = re.compile(r"\[\s*(\[[^\[\]]*\](?:\s*,\s*\[[^\[\]]*\])*)\s*\]")
CELL = re.compile(r"(?<=[&\s}\\])\{(-?\w+)\}(?=\s*(?:&|\\\\|\\end))")
NUMBER = r"\s?\{?\s*(\w+)\s*\}?"
CHOOSE = (
    (re.compile(rf"(?:\{{\s*\}}|(?<![A-Za-z\d)}}]))[\^_]{NUMBER}\s*C\s?_{NUMBER}"), r"\\binom{\1}{\2}"),
    (re.compile(rf"(?:\{{\s*\}}|(?<![A-Za-z\d)}}]))[\^_]{NUMBER}\s*P\s?_{NUMBER}"), r"\\frac{\1!}{(\1-\2)!}"),
    (re.compile(r"(?<![\w\\])(\d+)C(\d+)(?!\w)"), r"\\binom{\1}{\2}"),
    (re.compile(r"(?<![\w\\])C_\{?(\d+|[mn])\}?\s?\^\{?(\d+|k)\}?"), r"\\binom{\1}{\2}"),
)
REAL_ROOT = re.compile(r"\\sqrt\[(\d{0,3}[13579])\]\{\s*-\s*([\w.]+|\\frac\{\w+\}\{\w+\})\s*\}")
# the parser reads these as Euler's constant, the imaginary unit and a power of ten
VARIABLES = re.compile(
    r"(?P<other>\\(?:text|operatorname|mathbb|mathcal|begin|end|variable)\s?\{[^{}]*\}|\\(?!Gamma(?![A-Za-z]))[A-Za-z]+)"
    r"|\\Gamma(?!\s*\()|(?P<name>I)|E_(?:\{(?P<group>[^{}]*)\}|(?P<index>\w))"
)


VARIABLE_LETTERS = re.compile(r"I|\\Gamma|E_")


def prepared(text: str) -> str:
    """Return an answer in equivalent notation that the parser reads."""
    if "\\" in text:
        text = REAL_ROOT.sub(r"(-\\sqrt[\1]{\2})", _with_plain_sets(text).replace("smallmatrix", "matrix"))
    if VARIABLE_LETTERS.search(text):
        text = VARIABLES.sub(_variable, text)
    if "C" in text or "P" in text:
        for written, formula in CHOOSE:
            text = written.sub(formula, text)
    if ";" in text:
        text = SEMICOLON.sub(r"\1,\2", text)
    if "[" in text or "]" in text:
        text = _with_round_brackets(text)
        if rows := ROWS.fullmatch(text):
            text = _matrix(rows[1])
    if "&" in text:
        text = CELL.sub(r"\1", text)
    if "=" in text:
        text = ASSIGNMENTS.sub(", ", text)
    return DEGREES.sub(r"(\1\\cdot\\frac{\\pi}{180})", text) if TRIGONOMETRIC.search(text) else text


def _variable(found: re.Match[str]) -> str:
    if found["other"]:
        return found["other"]
    index = found["group"] or found["index"]
    return f"\\variable{{{f'E_{index}' if index else found['name'] or 'Gamma'}}}"


def _with_plain_sets(text: str) -> str:
    """Remove the braces of set builders and sets of pairs; write half-lines as intervals, and systems as lists."""
    for pattern in (SET_OF_PAIRS, SUCH_THAT):
        if found := pattern.fullmatch(text):
            text = found[1].strip()
    if system := SYSTEM.fullmatch(text):
        rows = [row.strip(" ,;") for row in system[1].split("\\\\")]
        text = ", ".join(row for row in rows if row)
    if "\\mathbb" in text:
        for half_line, interval in HALF_LINES:
            text = half_line.sub(interval, text)
        text = ALL_BUT.sub(r"\\mathbb{R}\\setminus ", REAL_AND.sub("", text))
    return EMPTY_SET.sub(r"\\emptyset", text)


def _with_round_brackets(text: str) -> str:
    """Turn ]0,1[ into (0,1)."""
    parts = UNION.split(text)
    ends = [ENDS.fullmatch(part) for part in parts[::2]]
    if None in ends:
        return text
    parts[::2] = [f"{'(' if e[1] != '[' else '['}{e[2]}{')' if e[3] != ']' else ']'}" for e in ends if e]
    return "".join(parts)


def _matrix(rows: str) -> str:
    cells = " \\\\ ".join(row.replace(",", " & ") for row in re.findall(r"\[([^\[\]]*)\]", rows))
    return f"\\begin{{pmatrix}}{cells}\\end{{pmatrix}}"
