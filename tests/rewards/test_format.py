import pytest

from gmpo.rewards import FormatReward

THINKING = FormatReward(["<think>", "</think>"])


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("<think>a</think> 5", 1.0),
        ("5 <think></think>", 1.0),
        ("</think>a<think>", 0.0),  # the order
        ("<think>a", 0.0),
        ("a</think>", 0.0),
        ("<think>a</think>b</think>", 0.0),  # once
        ("<think><think>a</think>", 0.0),
        ("<THINK>a</THINK>", 0.0),
        ("", 0.0),
    ],
)
def test_each_marker_once_and_in_order(response: str, score: float) -> None:
    assert THINKING.score([response], ["5"]) == [score]
    assert THINKING.submit(response, "5").result() == score


@pytest.mark.parametrize(
    ("response", "score"),
    [("<a>5</a>", 1.0), ("<a>5</a> \n", 1.0), ("<a>5</a>.", 0.0), ("5</a>", 0.0)],
)
def test_the_last_marker_may_have_to_end_the_response(response: str, score: float) -> None:
    assert FormatReward(["<a>", "</a>"], ends=True).score([response], ["5"]) == [score]


def test_one_score_for_each_response_whatever_the_answer() -> None:
    responses = ["<think></think>", "", "<think></think>"]
    assert THINKING.score(responses, ["1", "2", "3"]) == THINKING.score(responses, ["", "", ""]) == [1.0, 0.0, 1.0]
    assert THINKING.score([], []) == []


@pytest.mark.parametrize("markers", [[], "<think>", ["<think>", ""]])
def test_markers_that_say_nothing(markers: list[str]) -> None:
    with pytest.raises(ValueError, match="must be a list of texts"):
        FormatReward(markers)
