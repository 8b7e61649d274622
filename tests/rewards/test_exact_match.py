import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmpo.rewards import ExactMatch

CASES = [
    ("4", "4", 1.0),
    ("2+2 = 4", "4", 1.0),
    ("4 or 5", "4", 0.0),  # the last number counts
    ("5", "4", 0.0),
    ("14", "4", 0.0),
    ("40", "4", 0.0),
    ("1,024", "1024", 1.0),
    ("1024.0", "1,024", 1.0),
    ("007", "7", 1.0),
    ("0.10", "0.1", 1.0),
    ("0.11", "0.1", 0.0),
    ("-4", "-4", 1.0),
    ("-4", "4", 0.0),
    ("4", "-4", 0.0),
    ("It costs $4.", "4", 1.0),
    ("9007199254740993", "9007199254740992", 0.0),  # the same as floats
    ("1 2 #### 3", "3", 1.0),
    ("1 2 #### 3 apples", "3", 1.0),
    ("#### 3\nThis agrees with the 2 steps.", "3", 1.0),  # the first number after the marker
    ("#### 3 (since 1 + 2)", "3", 1.0),
    ("#### 2.5 hours (150 minutes)", "2.5", 1.0),
    ("#### 2.5 hours (150 minutes)", "150", 0.0),
    ("####\n$1,080 a year, $90 a month", "1080", 1.0),
    ("3 ####", "3", 0.0),
    ("3 #### none", "3", 0.0),
    ("#### 3 #### 4", "3", 0.0),
    ("#### 3 #### 4", "4", 1.0),
    ("", "3", 0.0),
    ("three", "3", 0.0),
    ("", "", 0.0),
    ("none", "none", 0.0),
]


@pytest.mark.parametrize(("response", "answer", "expected"), CASES)
def test_score(response: str, answer: str, expected: float) -> None:
    assert ExactMatch().score([response], [answer]) == [expected]


def test_one_score_for_each_response_in_order() -> None:
    assert ExactMatch().score(["1", "2", "x", "4"], ["1", "3", "5", "4"]) == [1.0, 0.0, 0.0, 1.0]
    assert ExactMatch().score([], []) == []


def test_another_marker() -> None:
    assert ExactMatch(marker="Answer:").score(["5 Answer: 3", "3 #### x 5"], ["3", "5"]) == [1.0, 1.0]


@given(st.text(alphabet=st.characters() | st.sampled_from("0123456789,.-# ٣²½")), st.integers())
def test_strange_responses_never_raise(response: str, answer: int) -> None:
    assert ExactMatch().score([response, f"{response} #### {answer}"], [str(answer)] * 2)[1] == 1.0


def test_very_long_number_never_raises() -> None:
    assert ExactMatch().score(["9" * 100_000], ["9"]) == [0.0]


def test_responses_and_answers_must_pair() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ExactMatch().score(["1", "2"], ["1"])
