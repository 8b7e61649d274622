"""Removal of LaTeX spelling without meaning: spaces, fonts, sizes, layout, Unicode."""

import re

from gmpo.verifier.arguments import braced
from gmpo.verifier.characters import in_latex
from gmpo.verifier.ellipsis import with_one_ellipsis

TEXT_FONTS = "mbox hbox mathrm mathsf mathtt mathnormal textrm textbf textit textsf texttt textup textsl"
TEXT_FONTS += " textsc textmd textnormal emph intertext"
FORMULA_FONTS = "mathbf boldsymbol bm pmb mathit underline uline ensuremath mathstrut"
SWITCHES = "rm bf sf tt it sl sc em cal left right middle displaystyle textstyle scriptstyle scriptscriptstyle limits"
SWITCHES += " nolimits tiny scriptsize footnotesize small normalsize large Large LARGE huge Huge noindent centering"
FUNCTIONS = "arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth sin cos tan cot sec csc ln log exp"
PLAIN = {  # equivalents in plain LaTeX
    "\\\\": "\\\\",  # the end of a row, not a backslash and a blank
    **{"\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\nicefrac": "\\frac", "\\sfrac": "\\frac"},
    **{"\\dbinom": "\\binom", "\\tbinom": "\\binom", "\\surd": "\\sqrt ", "√": "\\sqrt ", "\\bar": "\\overline"},
    **{"\\leq": "\\le", "\\geq": "\\ge", "\\leqslant": "\\le", "\\geqslant": "\\ge", "\\neq": "\\ne"},
    **{"\\smallsetminus": "\\setminus ", "\\backslash": "\\setminus ", "\\bigcup": "\\cup ", "\\bigcap": "\\cap "},
    **{f"\\{font}{{{letter}}}": letter for font in ("mathrm", "text", "textrm", "operatorname") for letter in "ie"},
    **{"\\imath": "i", "\\jmath": "j", "\\lbrace": "\\{", "\\rbrace": "\\}", "\\lbrack": "[", "\\rbrack": "]"},
    **{"\\langle": "(", "\\rangle": ")", "\\varnothing": "\\emptyset", "\\colon": ":", "\\uppi": "\\pi ", "**": "^"},
    **{
        "\\lg": "\\log_{10} ",
        "\\degree": "^\\circ ",
        "{,}": ",",
        "\\$": "$",
        "\\%": "%",
        "\\#": "",
        "\\&": "\\text{ and }",
    },
    **{"\\pounds": "£", "\\euro": "€", "\\texteuro": "€", "\\EUR": "€", "\\yen": "¥", "¢": "\\text{ cents}"},
    **{
        "\\text{^\\circ }": "^\\circ ",
        "\\text{¢}": "\\text{ cents}",
        "\\text{\\%}": "%",
        "\\text{infinity}": "\\infty ",
    },
    **{
        f"\\{font}{{{name}{blank}}}": f"\\{name} "
        for font in ("operatorname", "text", "mathrm")
        for name in FUNCTIONS.split()
        for blank in ("", " ")
    },
    **dict.fromkeys((f"\\{font}" for font in TEXT_FONTS.split()), "\\text"),
    **dict.fromkeys((f"\\{name}" for name in (FORMULA_FONTS + " " + SWITCHES).split()), ""),
    **dict.fromkeys(("\\(", "\\)", "\\[", "\\]", "\\/"), ""),
    **dict.fromkeys((f"\\{size}{side}" for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "r", "m")), ""),
    **dict.fromkeys(
        ("\\,", "\\;", "\\:", "\\ ", "\\>", "~", "\\enspace", "\\enskip", "\\thinspace", "\\medspace"), " "
    ),
    **dict.fromkeys(("\\thickspace", "\\hfill"), " "),
    **dict.fromkeys(("\\quad", "\\qquad"), "  "),
}
ORNAMENT = re.compile(
    "|".join(
        re.escape(key) + ("(?![A-Za-z])" if key[-1].isalpha() else "") for key in sorted(PLAIN, key=len, reverse=True)
    )
)
# negative spaces and the blanks after them, the height of a row, other spaces, colours, invisible and empty parts
LAYOUT = re.compile(
    r"\\!\s*|(?<=\\\\)\[[\d.]+ ?[a-z]{2}\]|\\(?:text)?color\{[^{}]*\}"
    r"|\\(?:[hv]space\*?|[hv]?phantom|tag\*?|label|rule(?:\[[^\[\]]*\])?\{[^{}]*\})\s?\{[^{}]*\}"
    r"|(?<!\\)%[ \t]*[A-Za-z(][^\n]*\n"  # a LaTeX comment
)
DOUBLED = re.compile(r"\\\\(?=[A-Za-z]{2}|[$%])")  # a doubly escaped backslash
IN_PARENTHESES = re.compile(r"-?\d*\.\d*\(\d+\)")  # 0.1(6)
DOTTED = re.compile(r"\.(\d*)\\dot\s?\{?(\d)\}?(?:(\d*)\\dot\s?\{?(\d)\}?)?")
AT_END = re.compile(r"(?<!\s)(?:\\(?:checkmark|blacksquare|square|Box|qed|newline|par|bigstar)(?![A-Za-z])|\\\\|\s)+$")
ROOT = re.compile(r"(?<![\\A-Za-z])(?:√|sqrt)\s?(?:\(([^()]*)\)|(\d+(?:\.\d+)?))")
PI = re.compile(r"(?<![\\A-Za-z{])pi(?![A-Za-z])")
BARE_FUNCTION = re.compile(
    rf"(?<![\\A-Za-z{{])({FUNCTIONS.replace(' ', '|').replace('sec|', '')})(?=\s?[(\d]|\s[a-z](?![a-z]))"
)
FORMULA_IN_TEXT = re.compile(r"\\text\s?\{\s*\$([^$]*)\$\.?\s*\}")
NUMBER_IN_TEXT = re.compile(r"\\text\s?\{\s?(-?[\d.,]+)\s?\}")
TWICE_IN_BRACES = re.compile(r"\{\{([^{}]*)\}\}")
GROUP = re.compile(r"\{((?!.*\\(?:over|choose))[^{}]*)\}")


def clean_latex(text: str) -> str:
    """Return the same formula in plain LaTeX; dollar signs stay, since they may mean money."""
    text = LAYOUT.sub("", in_latex(text).strip().strip("*_`"))
    if "\\begin" not in text:
        text = DOUBLED.sub(r"\\", text)
    if IN_PARENTHESES.fullmatch(text):
        text = text.replace("(", "\\overline{").replace(")", "}")
    text = DOTTED.sub(r".\1\\overline{\2\3\4}", text)
    text = ROOT.sub(lambda found: f"\\sqrt{{{found[1] or found[2]}}}", text)
    text = BARE_FUNCTION.sub(r"\\\1 ", PI.sub(r"\\pi ", text))
    text = AT_END.sub("", ORNAMENT.sub(lambda found: PLAIN[found.group()], text)).strip()
    formula = FORMULA_IN_TEXT.fullmatch(text)
    text = formula[1].strip() if formula else text
    text = braced(with_one_ellipsis(NUMBER_IN_TEXT.sub(r"\1", text)))
    while text != (text := TWICE_IN_BRACES.sub(r"{\1}", text)):
        pass
    whole = GROUP.fullmatch(text)
    return whole[1].strip() if whole else text
