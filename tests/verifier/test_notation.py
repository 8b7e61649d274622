"""How an answer is read without being computed, and what that alone decides."""

import random
import string
import time

import pytest

from gmpo.verifier.notation import canonical, compare_notation, parse_answer

UNITS = [
    ("5 cm", "5", "cm"),
    ("5cm", "5", "cm"),
    ("5\\text{ cm}", "5", "cm"),
    ("5\\,\\mathrm{cm}", "5", "cm"),
    ("5 \\text{ cm}^2", "5", "cm^2"),
    ("5 cm²", "5", "cm^2"),
    ("5 square centimeters", "5", "cm^2"),
    ("5 \\text{ sq. ft.}", "5", "foot^2"),
    ("5 \\mbox{ inches}^2", "5", "inch^2"),
    ("5 hrs", "5", "hour"),
    ("5 \\text{ m}", "5", "m"),  # inside \text a letter is a unit
    ("5 m", "5 m", None),  # outside it may be a variable
    ("5\\text{ km/h}", "5", "km/hour"),
    ("5 km/h", "5", "km/hour"),
    ("5 miles per hour", "5", "mile/hour"),
    ("5 mph", "5", "mile/hour"),
    ("5\\frac{\\text{km}}{\\text{h}}", "5", "km/hour"),
    ("5\\text{ kg}\\cdot\\text{m}", "5", None),  # a unit that has no name here
    ("2\\sqrt{3}\\text{ cm}", "2\\sqrt{3}", "cm"),
    ("6\\pi \\text{ square units}", "6\\pi", None),
    ("\\$5.50", "5.50", "dollar"),
    ("-\\$5", "-5", "dollar"),
    ("€5", "5", "euro"),
    ("5 dollars", "5", "dollar"),
    ("36^\\circ", "36", "degree"),
    ("36^{\\circ}", "36", "degree"),
    ("36°", "36", "degree"),
    ("36\\degree", "36", "degree"),
    ("36 \\text{ degrees}", "36", "degree"),
    ("36^\\circ\\text{C}", "36", "degree"),
    ("\\sin 36^\\circ", "\\sin 36^\\circ", None),
    ("5 apples", "5", None),
    ("5 pieces of fruit.", "5", None),
    ("5 or 6", "5 or 6", None),
    ("5 and 6", "5 and 6", None),
    ("5 dozen", "5 dozen", None),
    ("\\text{5 cm}", "5", "cm"),
    ("\\text{Total: }5", "5", None),
    ("The answer is 5", "5", None),
    ("cm", "cm", None),
]


@pytest.mark.parametrize(("answer", "text", "unit"), UNITS)
def test_units(answer: str, text: str, unit: str | None) -> None:
    written = parse_answer(answer)
    assert (written.text, written.unit, written.percent) == (text, unit, False)


@pytest.mark.parametrize(
    "answer", ["50%", "50\\%", "50 \\%", "50 percent", "50\\text{ percent}", "50\\% \\text{ more}"]
)
def test_percent(answer: str) -> None:
    written = parse_answer(answer)
    assert written.percent == ("more" not in answer)  # 50% more of it is not 50%
    assert (written.text == "50") == written.percent


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("$5$", "5"),
        ("**5**", "5"),
        ("\\(5\\)", "5"),
        ("5.", "5"),
        ("\\dfrac{1}{2}", "\\frac{1}{2}"),
        ("\\left( 1, 2 \\right)", "( 1, 2 )"),
        ("\\leftarrow", "\\leftarrow"),  # no \left
        ("\\bigl(1\\bigr)", "(1)"),
        ("2√3", "2\\sqrt{3}"),
        ("x²", "x^{2}"),
        ("10⁻³", "10^{-3}"),
        ("12pi", "12\\pi"),
        ("\u22125", "-5"),
        ("{5}", "5"),
        ("{10 \\choose 3}", "{10 \\choose 3}"),
        ("1,234", "1234"),
        ("(1,234)", "(1,234)"),
        ("1,234,5", "1,234,5"),
        ("\\begin{pmatrix}1\\\\[2mm]2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
        ("2.5 million", "2.5 \\times 10^{6}"),
    ],
)
def test_ornament(answer: str, text: str) -> None:
    assert parse_answer(answer).text == text


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        ("5", "5", True),
        ("5", "6", False),
        ("x", "x", True),
        ("x", "X", None),  # math-verify decides
        ("5 cm", "5 m", None),
        ("5 cm", "5 km", False),
        ("5 cm", "5", True),
        ("5 m", "5", True),  # beside a number a letter is no variable
        ("5", "5 m", None),
        ("5 m", "5 \\text{ hours}", False),
        ("50%", "0.5", True),
        ("50%", "50", True),
        ("0.5", "50", False),
        ("0.5%", "50%", False),
        ("101_2", "101", True),
        ("101_2", "101_3", False),
        ("(B) 12", "B", True),
        ("(B) 12", "C", False),
        ("(B) 12", "12", True),
        ("6:30 pm", "6:30", True),
        ("6:30 pm", "6:30 am", False),
        ("6:30", "7:30", False),
        ("3:4", "6:8", None),
        ("\\text{June 5}", "June 5", True),
        ("June 6", "June 5", None),
        ("2x", "x+x", None),
    ],
)
def test_what_notation_alone_decides(answer: str, gold: str, verdict: bool | None) -> None:
    assert compare_notation(parse_answer(answer), parse_answer(gold)) is verdict


@pytest.mark.parametrize(
    "votes",
    [
        ("1,024", "1024", "1024.0", "$1024$", "1024 apples", "2048/2"),
        ("1/2", "\\frac{1}{2}", "0.5", ".5", "\\dfrac12"),
        ("50%", "50\\%", "50 percent"),
        ("(1, 2)", "\\left(1,2\\right)"),
        ("\\text{East}".replace("\\text", "\\mathrm"), "\\text{east}"),
    ],
)
def test_plainly_equal_answers_are_one_vote(votes: tuple[str, ...]) -> None:
    assert len({canonical(vote) for vote in votes}) == 1


def test_other_answers_are_other_votes() -> None:
    votes = ["5", "-5", "50%", "50", "0.51", "x", "(1,2)", "(2,1)", "1,2", ""]
    assert len({canonical(vote) for vote in votes}) == len(votes)
    assert canonical("") == ""


def test_any_answer_is_read_at_once() -> None:
    """In the trainer's process nothing can be ended."""
    rng = random.Random(0)
    words = [*"{}()[],.^_$%\\ 1a/:-"]
    words += ["\\text{", "\\text{a}", "\\frac{", "\\circ", " or ", "1,111", "\\!", "√", "million"]
    words += [*string.ascii_letters, "  ", "\\text{ a", "^{", "(B) ", "answer is "]
    answers = ["1" + word * 499 + end for word in words for end in ("", "!", "}", "1")]
    answers += ["".join(rng.choices(words, k=300)) for _ in range(100)]
    for answer in answers:
        began = time.process_time()
        compare_notation(parse_answer(answer), parse_answer("1"))
        canonical(answer * 1000)
        assert time.process_time() - began < 0.25, answer[:60]
