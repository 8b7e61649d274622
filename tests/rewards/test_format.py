import pytest

from gmpo.rewards import FormatReward

R1 = FormatReward(["</think>", "<answer>", "</answer>"], ends=True)


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("so </think> <answer> \\boxed{5} </answer>", 1.0),
        ("so </think><answer>5</answer>\n ", 1.0),
        ("so </think> <answer> 5 </answer> and more", 0.0),  # it does not end there
        ("so <answer> 5 </answer> </think>", 0.0),  # another order
        ("so </think> <answer> 5", 0.0),
        ("so </think> <answer> 5 </answer> <answer> 6 </answer>", 0.0),  # twice
        ("", 0.0),
    ],
)
def test_each_marker_once_in_order(response: str, score: float) -> None:
    assert R1.score([response], ["5"]) == [score]
    assert R1.submit(response, "5").result() == score


def test_it_need_not_end_the_response() -> None:
    assert FormatReward(["\\boxed{"]).score(["\\boxed{5} it is", "5"], ["", ""]) == [1.0, 0.0]


@pytest.mark.parametrize("markers", [[], "</think>", ["a", ""]])
def test_markers_are_texts(markers: object) -> None:
    with pytest.raises(ValueError, match=r"reward\.markers"):
        FormatReward(markers)  # type: ignore[arg-type]
