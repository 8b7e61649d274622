"""Where the final answer of a response is found."""

import time

import pytest

from gmpo.verifier.extraction import final_answer, last_boxed, numbers

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
    ("\\boxed x+1$", "x+1"),
    ("\\boxed -.5", "-.5"),
    ("\\boxed{}", None),  # left blank: no box
    ("\\boxed{1} is put within \\boxed{}.", "1"),
    ("\\boxed{1}, asked for as \\boxed{...}", "1"),
    ("\\boxed{1}, asked for as \\boxed{\\ldots}", "1"),
    ("\\boxed{1} \\boxed{\\quad\\,}", "1"),
    ("\\boxed{1} \\boxed{\\_\\_?}", "1"),
    ("\\boxed{1} \\boxed{\\{\\}}", "\\{\\}"),  # the empty set
    ("\\boxed{1} \\boxed{<}", "<"),
    ("\\boxed{1}, marked with \\boxed .", "1"),  # prose
    ("\\boxed{1} (by \\boxed)", "1"),
    ("\\boxed{1} with the command \\boxed as asked", "1"),
    ("\\boxed{1} \\boxedtext{2}", "1"),
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
    ("Answer: 4? No. Answer: 5", "5"),  # the last of its line
    ("Answer: Answer: 5", "5"),
    ("First answer: 4 is wrong. **Final answer:** 5", "5"),
    ("Answer: 5\nAnswer: **", "5"),
    ("Answer: $5 + $6 = $11", "$5 + $6 = $11"),  # money
    ("Answer: $10 or $6", "$10 or $6"),
    ("Answer: $ 5 $ apples", "5"),
    ("答案\uff1a5", "5"),
    ("最终答案: **5**", "5"),
    ("所以答案是\uff1a$x=5$。", "x=5"),
    ("【答案】B", "B"),
    ("Answer\uff1a5", "5"),
    ("\\boxed{}", None),
    ("\\boxed{  }", None),
    ("\\boxed{}\nAnswer: 5", "5"),
    ("", None),
]
TAGGED = [
    ("<answer>5</answer>", "5"),
    ("so <answer> 4 </answer>, no: <answer>\n5\n</answer>\n", "5"),
    ("<answer>$x = 5$</answer>", "x = 5"),
    ("<answer>So it is $5$ in all.</answer>", "5"),
    ("<answer>Answer: 5</answer>", "5"),
    ("<answer>it is \\boxed{5}</answer>", "5"),
    ("the answer: <answer>5</answer>", "5"),
    ("<answer>4</answer> \\boxed{5}", "5"),  # a box comes first
    ("<answer>4</answer>\nAnswer: 5", "5"),
    ("it is <answer>5", "5"),  # where generation stopped at </answer>
    ("<answer>5</answer> between <answer> tags", "5"),
    ("5</answer>", None),
    ("<answer></answer>", None),
]
THOUGHTS = [
    ("<think>\\boxed{4}</think> It is 5.", None),
    ("<think>\\boxed{4}</think> Answer: 5", "5"),
    ("<think>Answer: 4</think> \\boxed{5}", "5"),
    ("\\boxed{4}</think><answer>5</answer>", "5"),  # the prompt began the thoughts
    ("<think>a</think> \\boxed{4} <think>b</think> \\boxed{5}", "5"),
    ("<think>a</think> \\boxed{5} <think>or \\boxed{4}?", "5"),
    ("\\boxed{5} <think>or \\boxed{4}?", "5"),
    ("<think>Perhaps \\boxed{5}? Let me", None),  # thoughts that never end
    ("<think>\\boxed{5}</think>\n", "5"),  # nothing else is said
    ("<thinking>\\boxed{4}</thinking> \\boxed{5}", "5"),
    ("[THINK]\\boxed{4}[/THINK] \\boxed{5}", "5"),
    ("<|begin_of_thought|>\\boxed{4}<|end_of_thought|> It is 5.", None),
]


@pytest.mark.parametrize(("text", "content"), BOXES)
def test_last_box(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@pytest.mark.parametrize(("response", "answer"), LINES + TAGGED + THOUGHTS)
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
        ("<think>2</think> it is 3", "3"),
        ("<think>2</think> it is unknown", None),
        ("none", None),
    ],
)
def test_last_number_comes_third(response: str, answer: str | None) -> None:
    assert final_answer(response, last_number=True) == answer


def test_numbers_of_a_text() -> None:
    assert numbers("1,024 and -3.5, .25 then 7.") == ["1024", "-3.5", ".25", "7"]
    assert numbers("") == []


@pytest.mark.parametrize(
    "part", ["\\boxed", "\\boxed{ }", "\\boxed{", "answer: ", "answer: \n", "$ a", "<answer>", "</think>", "<think>"]
)
def test_repetition_takes_no_quadratic_time(part: str) -> None:
    began = time.perf_counter()
    final_answer(part * 100_000)
    assert time.perf_counter() - began < 10  # a quadratic pattern takes an hour
