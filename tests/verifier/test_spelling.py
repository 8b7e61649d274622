"""Unicode, ellipses, numbers in words, letters of choices: each read without a parser."""

# ruff: noqa: RUF001  # characters that look like others are what is tested

import pytest

from gmpo.verifier.characters import in_latex
from gmpo.verifier.choices import choice, letter, letters
from gmpo.verifier.ellipsis import same_with_ellipsis, with_one_ellipsis
from gmpo.verifier.notation import parse_answer
from gmpo.verifier.number_words import in_digits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("１２", "12"),
        ("（1，2）", "(1,2)"),
        ("｛1｝", "\\{1\\}"),
        ("x²y₁", "x^{2}y_{1}"),
        ("1½", "1\\frac{1}{2}"),
        ("³⁄₄", "\\frac{3}{4}"),
        ("∛2", "\\sqrt[3]2"),
        ("−5", "-5"),
        ("30º", "30^\\circ "),
        ("ℝ", "\\mathbb{R}"),
        ("Ωω", "\\Omega \\omega "),
        ("1、2。", "1, 2."),
        ("5个", "5个"),
    ],
)
def test_unicode(text: str, expected: str) -> None:
    assert in_latex(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.333...", "0.\\overline{3}"),
        ("0.1666\\ldots", "0.1\\overline{6}"),
        ("0.142857142857\\dots", "0.\\overline{142857}"),
        ("2.718281828...", "2.718281828"),  # 1828 twice is no cycle: it does not begin at the point
        ("1, 2, ...", "1, 2, \\ldots"),
        ("1+2+\\cdots=3", "3"),
        ("1.5", "1.5"),
    ],
)
def test_ellipses(text: str, expected: str) -> None:
    assert with_one_ellipsis(text) == expected


def test_lists_with_ellipses() -> None:
    assert same_with_ellipsis("\\{1, 2, 3, \\ldots , n\\}", "1,2,\\ldots ,n")
    assert not same_with_ellipsis("1,3,\\ldots ,n", "1,2,\\ldots ,n")
    assert not same_with_ellipsis("1,2,4,\\ldots", "1,2,\\ldots")  # no progression
    assert not same_with_ellipsis("\\ldots +x^{n-1}", "\\ldots +x^n-1")


@pytest.mark.parametrize(
    ("words", "digits"),
    [
        ("seven", "7"),
        ("Twenty-one", "21"),
        ("one hundred and five", "105"),
        ("two thousand", "2000"),
        ("three quarters", "3/4"),
        ("a half", "1/2"),
        ("two thirds", "2/3"),
        ("twenty ten", None),
        ("one two", None),
        ("half", None),
        ("seven apples", None),
        ("7", None),
        ("", None),
    ],
)
def test_numbers_in_words(words: str, digits: str | None) -> None:
    assert in_digits(words) == digits


@pytest.mark.parametrize(
    "text", ["C", "(C)", "C)", "C.", "\\text{Option C}", "\\text{C is correct}", "选C", "c", "{(C)}"]
)
def test_the_letter_of_a_choice(text: str) -> None:
    assert letter(text) == "C"


@pytest.mark.parametrize("text", ["C or D", "CD", "R", "e", "C'", "\\text{(C)}\\text{(D)}", "C?"])
def test_no_single_choice(text: str) -> None:
    assert letter(text) is None or letter(text) == text == "R"


def test_a_choice_among_others_is_none() -> None:
    assert choice("(B) 12") == ("B", "12")
    assert choice("{(B)} 12") == ("B", "12")
    for text in ("(B) 12 (C) 13", "B. 12 or C. 13", "A) 1 B) 2", "(B) x or (C) y", "A. 3\nB. 4"):
        assert choice(text) is None, text
    assert letters("A, B, \\text{ and } D") == letters("BDA") == frozenset("ABD")
    assert letters("BB") is letters("A") is letters("K, L") is None


@pytest.mark.parametrize(
    "text",
    [
        *("\\Large 7", "\\mathsf{7}", "7\\phantom{0}", "\\tag{1}7", "7 \\label{a}", "7 % total\n", "7 \\checkmark"),
        *("\\therefore 7", "7 \\\\", "`7`", "\\text{$7$}", "{\\tt 7}", "7\\rule{1em}{0pt}", "\\text{exactly } 7"),
    ],
)
def test_layout_is_taken_off(text: str) -> None:
    assert parse_answer(text).text == "7"
