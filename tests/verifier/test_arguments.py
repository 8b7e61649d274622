"""Arguments without braces, as TeX reads them."""

import pytest

from gmpo.verifier.arguments import braced


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\frac12", "\\frac{1}{2}"),
        ("\\frac123", "\\frac{1}{2}3"),
        ("\\frac\\pi6", "\\frac{\\pi}{6}"),
        ("\\frac{1}\\pi", "\\frac{1}{\\pi}"),
        ("\\frac{\\frac12}3", "\\frac{\\frac{1}{2}}{3}"),
        ("\\sqrt\\frac34", "\\sqrt{\\frac{3}{4}}"),
        ("\\sqrt[3]2", "\\sqrt[3]{2}"),
        ("\\sqrt[3] {2}", "\\sqrt[3]{2}"),
        ("\\frac\\sqrt32", "\\frac{\\sqrt{3}}{2}"),
        ("\\binom nk", "\\binom{n}{k}"),
        ("2^(1/3)", "2^{1/3}"),
        ("2^((a+b)c)", "2^{(a+b)c}"),
        ("2^-(1/3)", "2^{-1/3}"),
        ("x^\\frac12", "x^{\\frac{1}{2}}"),
        ("\\log_10 x", "\\log_{10} x"),
        ("\\log_28", "\\log_{2}8"),
        ("\\log_e 2", "\\ln  2"),
        ("\\sqrt{2", "\\sqrt{2"),  # what has no end stays as it is
        ("\\frac{1}", "\\frac{1}"),
        ("2^100", "2^100"),  # the parser takes all of its digits
    ],
)
def test_braces(text: str, expected: str) -> None:
    assert braced(text) == expected


@pytest.mark.parametrize("command", ["\\sqrt", "\\sqrt[", "\\frac", "\\frac{", "2^(", "\\sqrt[\\frac{"])
def test_arguments_within_arguments_do_not_overflow(command: str) -> None:
    assert braced(command * 300)
