"""Answers that equal the gold answer and leave open what it has computed: right, but the exercise itself."""

from collections.abc import Iterator

import pytest

from gmpo.rewards import FormatReward, MathReward, WeightedSum, verifier_of
from gmpo.verifier.notation import parse_answer
from gmpo.verifier.undivided import undivided
from gmpo.verifier.worked_out import worked_out

EXERCISES = [  # answer, gold answer
    ("317^2 - 283^2", "20400"),
    ("17 \\cdot 23", "391"),
    ("48 + 27", "75"),
    ("97^2+97+2", "9508"),
    ("\\frac{1}{2}+\\frac{2}{3}", "\\frac{7}{6}"),
    ("\\frac{5}{6}\\cdot\\frac{3}{7}", "\\frac{5}{14}"),
    ("\\frac{3}{4}\\div\\frac{5}{8}", "\\frac{6}{5}"),
    ("3^7 \\div 3^5 - 2^3", "1"),
    ("2^{12}", "4096"),
    ("\\sqrt{338}", "13\\sqrt{2}"),
    ("\\sqrt{50}+\\sqrt{8}", "7\\sqrt{2}"),
    ("\\frac{6}{\\sqrt{12}}", "\\sqrt{3}"),
    ("\\sqrt{\\sqrt[3]{\\frac{1}{64}}}", "\\frac{1}{2}"),
    ("(2-3i)4+5i", "8-7i"),
    ("(3+4i)(2-i)", "10+5i"),
    ("|(1+i)^6|", "8"),
    ("\\log_3 81", "4"),
    ("\\arccos\\frac{1}{2}", "\\frac{\\pi}{3}"),
    ("\\binom{12}{4}", "495"),
    ("\\frac{7!}{5!}", "42"),
    ("\\lfloor 17.3 \\rfloor", "17"),
    ("\\sum_{k=1}^{20} k", "210"),
    ("\\prod_{k=1}^{4} k", "24"),
    ("\\int_0^1 x^2\\,dx", "\\frac{1}{3}"),
    ("\\lim_{x \\to 0} \\frac{\\sin x}{x}", "1"),
    ("\\sin 10^\\circ \\sin 50^\\circ \\sin 70^\\circ", "\\frac{1}{8}"),
    ("\\frac{\\cos x}{\\sin x} + \\frac{\\sin x}{\\cos x}", "\\frac{1}{\\sin x\\cos x}"),
    ("(3k - 4) + (5 - 7k)", "1-4k"),
    ("12y + 5 - 7y - 20", "5y-15"),
    ("\\frac{3+2a}{4}-\\frac{2+a}{3}", "\\frac{1+2a}{12}"),
    ("(t+2)(t-5) - (t-4)(t+1)", "-6"),
    ("\\frac{(6s^2)(2s^5)}{3s^3}", "4s^4"),
    ("xy+3x+4y+12", "(x+4)(y+3)"),
    ("x^2+10x+25", "(x+5)^2"),
    ("n = 48 + 27", "75"),
    ("(17 \\cdot 23, 1)", "(391, 1)"),
    ("\\frac{7}{40}", "0.175"),
    ("13/16", ".8125"),
]
WORKED_OUT = [
    ("75", "48+27"),  # more than the gold answer has done
    ("495", "\\binom{12}{4}"),
    ("\\frac{12!}{4!8!}", "\\binom{12}{4}"),
    ("3 \\cdot 2^{50}", "6 \\cdot 2^{49}"),
    ("2^{51}-2", "2(2^{50}-1)"),
    ("48+27=75", "75"),
    ("a+b = 48+27 = 75", "75"),
    ("3^2", "9"),  # one operation at sight
    ("9-2", "7"),
    ("2+\\frac{1}{3}", "\\frac{7}{3}"),
    ("\\frac{8}{\\sqrt{2}}", "4\\sqrt{2}"),
    ("\\sqrt{12}", "2\\sqrt{3}"),
    ("\\sqrt{9\\cdot 2}", "3\\sqrt{2}"),
    ("\\frac{3}{\\sqrt{13}-2}", "\\frac{\\sqrt{13}+2}{3}"),
    ("(3+i)^2", "8+6i"),
    ("\\frac{5+5i}{2+i}", "3+i"),
    ("2e^{i\\pi/2}", "2i"),
    ("\\cos\\pi - 2", "-3"),
    ("6\\sin 60^\\circ", "3\\sqrt{3}"),
    ("\\sin(\\arctan x)", "\\frac{x}{\\sqrt{1+x^2}}"),
    ("\\ln 6-\\ln 2", "\\ln 3"),
    ("\\frac{\\log 5}{\\log 2}", "\\log_2 5"),
    ("1-2\\sin^2 x", "\\cos 2x"),
    ("\\binom{n+1}{2}", "\\frac{n(n+1)}{2}"),
    ("\\lfloor\\frac{n+2}{3}\\rfloor", "\\left\\lfloor \\frac{n+2}{3}\\right\\rfloor"),
    ("\\frac{n^2+n}{2}", "\\frac{n(n+1)}{2}"),
    ("(x-4)(x+4)", "x^2-16"),
    ("(k+1)^2-k^2", "2k+1"),
    ("m(m+1)-2", "m^2+m-2"),
    ("\\frac{1}{4}(8\\pi-3\\sqrt{7})", "2\\pi-\\frac{3\\sqrt{7}}{4}"),
    ("\\frac{34}{40}", "\\frac{17}{20}"),
    ("\\frac{300}{2}\\%", "150\\%"),
    ("\\frac{9}{4}", "2.25"),
    ("\\frac{27}{100}", "0.27"),
    ("2\\frac{7}{40}", "2.175"),
    ("\\frac{7}{40}", "17.5\\%"),
    ("(\\frac{7}{40}, 1)", "(0.175, 1)"),
    ("3\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}3\\\\6\\end{pmatrix}"),
    ("\\text{east}", "East"),
]


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    with MathReward(timeout=20, processes=2, worked_out=True) as reward:
        yield reward


def boxed(answers: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [f"\\boxed{{{answer}}}" for answer, _ in answers], [gold for _, gold in answers]


def test_the_exercise_is_no_answer_in_training_and_right_in_validation(reward: MathReward) -> None:
    reward.report()
    scores = reward.score(*boxed(EXERCISES))
    assert [pair for pair, score in zip(EXERCISES, scores, strict=True) if score == 1] == []
    assert reward.report()["not_worked_out"] == len(EXERCISES)
    scores = verifier_of(reward).score(*boxed(EXERCISES))
    assert [pair for pair, score in zip(EXERCISES, scores, strict=True) if score == 0] == []
    assert reward.report()["not_worked_out"] == 0


def test_no_right_answer_is_lost(reward: MathReward) -> None:
    scores = reward.score(*boxed(WORKED_OUT))
    assert [pair for pair, score in zip(WORKED_OUT, scores, strict=True) if score == 0] == []


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("\\gcd(84, 36)", "12"),
        ("\\operatorname{lcm}(4, 6)", "12"),
        ("\\sum_{k=1}^n k", "\\frac{n(n+1)}{2}"),
        ("{9 \\choose 2}", "36"),
        (
            "\\begin{pmatrix}1\\\\2\\end{pmatrix}+\\begin{pmatrix}3\\\\4\\end{pmatrix}",
            "\\begin{pmatrix}4\\\\6\\end{pmatrix}",
        ),
    ],
)
def test_operations_that_the_parser_or_time_hides(answer: str, gold: str) -> None:
    assert not worked_out(parse_answer(answer), parse_answer(gold))


def test_by_default_equality_decides() -> None:
    with MathReward(processes=1) as reward:
        assert verifier_of(reward) is reward
        assert reward.score(*boxed(EXERCISES[:2] + EXERCISES[-1:])) == [1.0] * 3
        assert reward.report()["not_worked_out"] == 0


def test_a_wrong_exercise_stays_wrong(reward: MathReward) -> None:
    wrong = [("317^2 - 283^2", "20401"), ("\\frac{7}{40}", "0.176")]
    assert verifier_of(reward).score(*boxed(wrong)) == [0.0, 0.0]
    assert reward.score(*boxed(wrong)) == [0.0, 0.0]
    assert reward.report()["not_worked_out"] == 0


def test_within_a_sum_of_rewards_validation_asks_for_equality(reward: MathReward) -> None:
    total = WeightedSum({"math": reward, "form": FormatReward(["\\boxed"])}, {"math": 1.0, "form": 0.5}, "math")
    response, answer = "\\boxed{317^2 - 283^2}", "20400"
    assert total.score([response], [answer]) == [0.5]
    verifier = verifier_of(total)
    assert verifier.score([response], [answer]) == [1.0]
    assert verifier.submit(response, answer).result(timeout=20) == 1.0  # type: ignore[attr-defined]
    assert verifier.answer(response) == "317^2 - 283^2"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answer", "gold", "left"),
    [
        ("\\frac{3}{20}", "0.15", True),
        ("-\\dfrac{3}{20}", "-.15", True),
        ("3/20", "0.15", True),
        ("\\frac{3}{20}", "\\frac{3}{20}", False),
        ("0.15", "\\frac{3}{20}", False),
        ("\\frac{15}{100}", "0.15", False),
        ("\\frac{9}{2}", "4.5", False),
        ("4\\frac{1}{20}", "4.05", False),
        ("15\\%", "0.15", False),
    ],
)
def test_a_fraction_where_the_gold_answer_is_a_decimal(answer: str, gold: str, left: bool) -> None:
    assert undivided(parse_answer(answer), parse_answer(gold)) == left
