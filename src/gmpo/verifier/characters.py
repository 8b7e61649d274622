"""Conversion of Unicode to plain LaTeX: mathematical characters, full-width forms, Chinese punctuation."""

# ruff: noqa: RUF001  # this file is about characters that look like others

import re
import unicodedata

# characters whose compatibility form (NFKC) loses or changes meaning
BEFORE = {
    **{"｛": "\\{", "｝": "\\}", "º": "^\\circ ", "˚": "^\\circ ", "…": "\\ldots ", "⋯": "\\ldots ", "‥": "\\ldots "},
    **{"ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}", "ℕ": "\\mathbb{N}"},
    **{"‰": "\\text{ per mille}", "‖": "\\|", "′": "'", "\u00b4": "'", "ϕ": "\\phi ", "ϵ": "\\epsilon "},
}
AFTER = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\u2500", "-"),
    **{"×": "\\times ", "✕": "\\times ", "✖": "\\times ", "⨯": "\\times ", "⨉": "\\times ", "∗": "*", "⁎": "*"},
    **{"·": "\\cdot ", "⋅": "\\cdot ", "•": "\\cdot ", "∙": "\\cdot ", "・": "\\cdot ", "÷": "/", "∕": "/", "⁄": "/"},
    **{"π": "\\pi ", "∞": "\\infty ", "°": "^\\circ ", "∆": "\\Delta ", "∂": "\\partial "},
    **{"≈": "\\approx ", "≃": "\\simeq ", "≅": "\\cong ", "≤": "\\le ", "⩽": "\\le ", "≦": "\\le ", "≥": "\\ge "},
    **{"⩾": "\\ge ", "≧": "\\ge ", "≠": "\\ne ", "±": "\\pm ", "∓": "\\mp ", "∪": "\\cup ", "∩": "\\cap "},
    **{"∅": "\\emptyset ", "∈": "\\in ", "∉": "\\notin ", "∖": "\\setminus ", "⊂": "\\subset ", "⊆": "\\subseteq "},
    **{"∧": "\\land ", "∨": "\\lor ", "¬": "\\neg ", "⇒": "\\Rightarrow ", "→": "\\to ", "∴": "\\therefore "},
    **{"⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ", "⟨": "(", "⟩": ")", "〈": "(", "〉": ")"},
    **{"∠": "\\angle ", "△": "\\triangle ", "∑": "\\sum ", "∏": "\\prod ", "∫": "\\int ", "∛": "\\sqrt[3]"},
    **{"∜": "\\sqrt[4]", "∶": ":", "∣": "|", "【": "[", "】": "]", "《": "", "》": "", "「": "", "」": ""},
    **{"、": ", ", "。": ".", "〜": "~", "“": '"', "”": '"', "‘": "'", "’": "'", "\u200b": "", "\ufeff": ""},
}
GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon"
GREEK += " phi chi psi omega"
LETTERS = {
    **{unicodedata.lookup(f"GREEK SMALL LETTER {'LAMDA' if n == 'lambda' else n}"): f"\\{n} " for n in GREEK.split()},
    **{
        unicodedata.lookup(f"GREEK CAPITAL LETTER {'LAMDA' if n == 'lambda' else n}"): f"\\{n.capitalize()} "
        for n in ("gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega")
    },
}
LOSSY, PLAIN = str.maketrans(BEFORE), str.maketrans(LETTERS | AFTER)
RAISED, LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙᵢ"
ON_THE_LINE = str.maketrans(RAISED + LOWERED, "0123456789+-()ni" * 2)
RAISED_OVER_LOWERED = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹]+)[⁄/]([₀₁₂₃₄₅₆₇₈₉]+)")
SHIFTED = re.compile(f"([{RAISED}]+)|([{LOWERED}]+)")
VULGAR = re.compile("[¼-¾⅐-⅞↉]")


def in_latex(text: str) -> str:
    """Return the text in equivalent ASCII and LaTeX commands; words of any script stay."""
    if text.isascii():
        return text
    text = RAISED_OVER_LOWERED.sub(lambda found: _fraction(*found.groups()), text)
    text = SHIFTED.sub(lambda found: f"{'^' if found[1] else '_'}{{{found.group().translate(ON_THE_LINE)}}}", text)
    text = VULGAR.sub(lambda found: _fraction(*unicodedata.normalize("NFKC", found.group()).split("⁄")), text)
    return unicodedata.normalize("NFKC", text.translate(LOSSY)).translate(PLAIN)


def _fraction(above: str, below: str) -> str:
    return f"\\frac{{{above.translate(ON_THE_LINE)}}}{{{below.translate(ON_THE_LINE)}}}"
