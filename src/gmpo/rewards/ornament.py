"""Spelling that carries no meaning: spaces, fonts, sizes, Unicode for LaTeX."""

import re

PLAIN = {  # what says the same in plain LaTeX
    "\\\\": "\\\\",  # the end of a row, not a backslash and a blank
    **{"\u2212": "-", "\u2013": "-", "\u00d7": "\\times ", "·": "\\cdot ", "÷": "/", "\u00a0": " ", "\uff05": "%"},
    **{"π": "\\pi ", "∞": "\\infty ", "√": "\\sqrt ", "°": "^\\circ ", "½": "\\frac{1}{2}", "≈": "\\approx "},
    **{"≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "±": "\\pm ", "\u222a": "\\cup ", "∩": "\\cap ", "∅": "\\emptyset "},
    **{"\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\leq": "\\le", "\\geq": "\\ge"},
    **{"\\leqslant": "\\le", "\\geqslant": "\\ge", "\\mathrm{i}": "i", "\\mathrm{e}": "e", "\\bar": "\\overline"},
    **dict.fromkeys(("\\mbox", "\\mathrm", "\\textrm", "\\textbf", "\\textit", "\\textsf", "\\texttt"), "\\text"),
    **{"\\lbrace": "\\{", "\\rbrace": "\\}", "\\langle": "(", "\\rangle": ")", "\\varnothing": "\\emptyset"},
    **{"\\degree": "^\\circ ", "{,}": ",", "\\$": "$", "\\%": "%", "\\#": "", "¢": "\\text{ cents}"},
    **{"\\text{°}": "^\\circ ", "\\text{¢}": "\\text{ cents}"},
    **dict.fromkeys(("\\(", "\\)", "\\[", "\\]", "\\left", "\\right", "\\rm", "\\bf", "\\displaystyle"), ""),
    **dict.fromkeys(("\\mathbf", "\\boldsymbol", "\\bm", "\\mathit", "\\underline"), ""),
    **dict.fromkeys((f"\\{size}{side}" for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "r")), ""),
    **dict.fromkeys(("\\,", "\\;", "\\:", "\\ ", "~", "\\quad", "\\qquad"), " "),
}
ORNAMENT = re.compile("|".join(re.escape(key) + ("(?![A-Za-z])" if key[-1].isalpha() else "") for key in PLAIN))
# a negative space and the blanks after it, the height of a row, other spaces, colours
LAYOUT = re.compile(r"\\!\s*|(?<=\\\\)\[[\d.]+ ?[a-z]{2}\]|\\[hv]space\*?\{[^{}]*\}|\\(?:text)?color\{[^{}]*\}")
ROOT = re.compile(r"(?<![\\A-Za-z])(?:√|sqrt)\s?(?:\(([^()]*)\)|(\d+(?:\.\d+)?))")
PI = re.compile(r"(?<![\\A-Za-z{])pi(?![A-Za-z])")
RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
LOWERED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
NUMBER_IN_TEXT = re.compile(r"\\text\s?\{\s?(-?[\d.,]+)\s?\}")
GROUP = re.compile(r"\{((?!.*\\(?:over|choose))[^{}]*)\}")


def without_ornament(text: str) -> str:
    """The same in plain LaTeX; dollar signs stay, they may mean money."""
    text = LAYOUT.sub("", text.strip().strip("*_"))
    text = ROOT.sub(lambda found: f"\\sqrt{{{found[1] or found[2]}}}", text)
    text = RAISED.sub(lambda found: f"^{{{found.group().translate(LOWERED)}}}", text)
    text = ORNAMENT.sub(lambda found: PLAIN[found.group()], PI.sub(r"\\pi ", text)).strip()
    text = NUMBER_IN_TEXT.sub(r"\1", text)
    whole = GROUP.fullmatch(text)
    return whole[1].strip() if whole else text
