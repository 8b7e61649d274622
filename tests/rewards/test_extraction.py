"""Where the final answer of a response is found."""

import pytest

from gmpo.rewards.extraction import final_answer, last_boxed, numbers

BOXES = [
    ("so \\boxed{5}.", "5"),
    ("\\boxed{1} then \\boxed{2}", "2"),
    ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
    ("\\boxed{ x = {5} }", " x = {5} "),
    ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),  # escaped braces do not count
    ("\\boxed{\\left\\{ 1 \\right.}", "\\left\\{ 1 \\right."),
    ("\\boxed{\\boxed{7}}", "7"),  # the innermost begins last
    ("\\boxed{a \\boxed{b} c}", "b"),
    ("\\fbox{5}", "5"),
    ("\\boxed{1} or \\fbox{2}", "2"),
    ("\\boxed {5}", "5"),
    ("\\boxed 5", "5"),
    ("\\boxed 5$ is it", "5"),
    ("\\boxed{1} and \\boxed 2 ", "2"),
    ("\\boxed{1} and \\boxed{2", "1"),  # the second is not closed
    ("\\boxed{2", None),
    ("\\boxed{1 \\boxed{2}", "2"),
    ("{ { \\boxed{3} }", "3"),
    ("} \\boxed{3}", "3"),
    ("\\boxed{}", ""),
    ("no box", None),
    ("", None),
]
LINES = [
    ("Answer: 5", "5"),
    ("ANSWER : 5", "5"),
    ("The final answer: 5", "5"),
    ("**Answer:** 5", "5"),
    ("**Answer: 5**", "5"),
    ("**Final Answer**: 5", "5"),
    ("### Answer: _5_", "5"),
    ("\\textbf{Answer:} 5", "5"),
    ("Answer: 4\nbut no.\nAnswer: 5", "5"),
    ("Answer: 5\nIt was not hard.", "5"),
    ("Answer: 5 apples.", "5 apples."),
    ("Answer: $x = 5$ is what we want", "x = 5"),
    ("Answer: $$5$$", "5"),
    ("Answer: \\(\\frac{1}{2}\\) of it", "\\frac{1}{2}"),
    ("Answer: \\((1, 2)\\).", "(1, 2)"),
    ("Answer: $5$ and $6$", "$5$ and $6$"),  # two formulas: the line answers
    ("Answer: \\(5\\) or \\(6\\)", "\\(5\\) or \\(6\\)"),
    ("Answer: $5", "$5"),
    ("\\boxed{1}\nAnswer: 2", "1"),  # a box comes first
    ("Answer: 2\n\\boxed{1", "2"),
    ("Answer:", None),
    ("Answer:\n5", None),  # on its line, or not at all
    ("answers: 5", None),
    ("myanswer: 5", None),
    ("it is 5", None),
    ("\\boxed{}", None),
    ("\\boxed{  }", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "content"), BOXES)
def test_last_box(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@pytest.mark.parametrize(("response", "answer"), LINES)
def test_final_answer(response: str, answer: str | None) -> None:
    assert final_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("first 3, then 1,234.", "1234"),
        ("it is -5", "-5"),
        ("10-5", "5"),  # a subtraction
        ("x = (2)-3", "3"),
        ("it is \u22125.50", "-5.50"),
        ("about .5", ".5"),
        ("\\boxed{2} and 3", "2"),
        ("Answer: 2\nor 3", "2"),
        ("none", None),
    ],
)
def test_last_number_comes_third(response: str, answer: str | None) -> None:
    assert final_answer(response, last_number=True) == answer


def test_numbers_of_a_text() -> None:
    assert numbers("1,024 and -3.5, .25 then 7.") == ["1024", "-3.5", ".25", "7"]
    assert numbers("") == []
