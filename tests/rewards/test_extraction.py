import pytest

from gmpo.rewards.extraction import final_answer, last_boxed, numbers


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("so \\boxed{5} and \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{3}, then \\boxed{4", "3"),  # the last that closes
        ("\\boxed{\\boxed{7}}", "7"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("$\\boxed 5$", "5"),
        ("\\fbox{6}", "6"),
        ("a stray } and { and \\boxed{8}", "8"),
        ("\\boxed{5}\nAnswer: 6", "5"),  # a box comes first
        ("**Answer:** 5", "5"),
        ("Answer: 4\nno\nanswer : 5.", "5."),
        ("Final Answer: the answer is $\\frac12$. I hope it is correct.", "\\frac12"),
        ("Answer: $3$ and $4$", "$3$ and $4$"),
        ("it is 5", None),
        ("\\boxed{}", None),
        ("Answer:", None),
        ("", None),
    ],
)
def test_final_answer(response: str, answer: str | None) -> None:
    assert final_answer(response) == answer


def test_the_last_number_where_it_may_count() -> None:
    assert final_answer("first 3, then -1,234.5!", last_number=True) == "-1234.5"
    assert final_answer("Answer: 3\nand 4", last_number=True) == "3"
    assert final_answer("none", last_number=True) is None


def test_a_minus_after_a_digit_subtracts() -> None:
    assert numbers("5-3=2, (1)-4, \u22127, .5") == ["5", "3", "2", "1", "4", "-7", ".5"]


def test_a_solution_without_a_box() -> None:
    assert last_boxed("nothing") is None
