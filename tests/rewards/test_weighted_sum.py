from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from gmpo.rewards import ExactMatch, FormatReward, WeightedSum, close, report_of, verifier_of

RESPONSES = ["it is 5!", "it is 6!", "5", "6"]
ANSWERS = ["5"] * 4
TOTALS = [1.25, 0.25, 1.0, 0.0]


class BatchOnly:
    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [float(len(response)) for response in responses]


class Failing(ExactMatch):
    def submit(self, response: str, answer: str) -> Future[float]:
        future: Future[float] = Future()
        future.set_exception(RuntimeError("no verifier here"))
        return future


def made() -> WeightedSum:
    return WeightedSum({"math": ExactMatch(), "form": FormatReward(["!"])}, {"math": 1.0, "form": 0.25}, "math")


def test_score_and_submit_are_the_same() -> None:
    reward = made()
    assert reward.score(RESPONSES, ANSWERS) == TOTALS
    assert [reward.submit(*pair).result() for pair in zip(RESPONSES, ANSWERS, strict=True)] == TOTALS


def test_each_mean_is_reported_by_name_and_once() -> None:
    reward = made()
    reward.score(RESPONSES, ANSWERS)
    assert report_of(reward) == {"math": 0.5, "form": 0.5}
    assert report_of(reward) == {}


def test_the_verifier_says_what_is_right() -> None:
    reward = made()
    assert verifier_of(reward) is reward.rewards["math"]
    assert verifier_of(WeightedSum({"sum": reward}, {"sum": 2.0}, "sum")) is reward.rewards["math"]
    assert verifier_of(ExactMatch()) == ExactMatch()


def test_with_a_part_that_scores_batches_only_nothing_streams() -> None:
    reward = WeightedSum({"math": ExactMatch(), "length": BatchOnly()}, {"math": 1.0, "length": 0.5}, "math")
    assert not hasattr(reward, "submit")
    assert reward.score(RESPONSES, ANSWERS) == [5.0, 4.0, 1.5, 0.5]
    close(reward)


def test_a_part_that_fails_fails_the_sum() -> None:
    reward = WeightedSum({"math": Failing(), "form": FormatReward(["!"])}, {"math": 1.0, "form": 1.0}, "math")
    with pytest.raises(RuntimeError, match="no verifier here"):
        reward.submit("5", "5").result(timeout=1)


@pytest.mark.parametrize(
    ("weights", "verifier", "said"),
    [({"math": 1.0}, "math", "reward.weights names"), ({"math": 1.0, "form": 1.0}, "maths", "reward.verifier=maths")],
)
def test_bad_input(weights: dict[str, float], verifier: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WeightedSum({"math": ExactMatch(), "form": FormatReward(["!"])}, weights, verifier)
