"""A sum of rewards, scored at once or while others are generated."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from gmpo.rewards import (
    ExactMatch,
    FormatReward,
    Instant,
    MathReward,
    Reward,
    WeightedSum,
    report_of,
    verifier_of,
)

RESPONSES = ["<a>5</a>", "5", "<a>6</a>", "6"]
ANSWERS = ["5"] * 4
SCORES = [1.25, 1.0, 0.25, 0.0]


class Late(Reward):
    """Its scores are known when the test says so."""

    def __init__(self) -> None:
        self.pending: list[Future[float]] = []
        self.closed = False

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [float(len(response)) for response in responses]

    def submit(self, response: str, answer: str) -> Future[float]:
        self.pending.append(Future())
        return self.pending[-1]

    def report(self) -> dict[str, float]:
        return {"pending": float(len(self.pending))}

    def close(self) -> None:
        self.closed = True


class Batch:
    """Scores no response alone."""

    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        return [float(len(response)) for response in responses]


class Failing(Instant):
    def score(self, responses: Sequence[str], answers: Sequence[str]) -> list[float]:
        raise OSError("the judge is down")


def graded(**more: Reward) -> WeightedSum:
    rewards: dict[str, Reward] = {"right": ExactMatch(), "form": FormatReward(["<a>", "</a>"]), **more}
    return WeightedSum(rewards, {"right": 1.0, "form": 0.25} | dict.fromkeys(more, 10.0), verifier="right")


def test_scores_are_weighed_and_summed() -> None:
    assert graded().score(RESPONSES, ANSWERS) == SCORES
    assert graded().score([], []) == []


def test_scores_of_single_responses_are_the_same() -> None:
    futures = [graded().submit(*pair) for pair in zip(RESPONSES, ANSWERS, strict=True)]
    assert [future.result(timeout=0) for future in futures] == SCORES


def test_a_sum_is_known_with_its_last_part() -> None:
    late = Late()
    reward = graded(late=late)
    sums = [reward.submit(*pair) for pair in zip(RESPONSES, ANSWERS, strict=True)]
    for i in (2, 0, 3, 1):
        assert not sums[i].done()
        late.pending[i].set_result(float(i))
        assert sums[i].result(timeout=0) == SCORES[i] + 10 * i


def test_parts_may_end_together_in_their_own_threads() -> None:
    parts = {name: Late() for name in "abcd"}
    reward = WeightedSum(parts, dict.fromkeys(parts, 1.0), verifier="a")
    sums = [reward.submit("", "") for _ in range(200)]

    def settle(part: Late) -> None:
        for future in part.pending:
            future.set_result(1.0)

    threads = [threading.Thread(target=settle, args=(part,)) for part in parts.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [total.result(timeout=0) for total in sums] == [4.0] * 200
    assert reward.report() == dict.fromkeys("abcd", 1.0) | {"pending": 200.0}


def test_the_mean_of_each_is_reported_once() -> None:
    reward = graded(late=(late := Late()))
    reward.score(RESPONSES, ANSWERS)
    late.pending = []
    lengths = sum(map(len, RESPONSES)) / 4
    assert report_of(reward) == {"right": 0.5, "form": 0.5, "late": lengths, "pending": 0.0}
    assert report_of(reward) == {"pending": 0.0}
    late.pending = []
    total = reward.submit(RESPONSES[0], "6")
    assert report_of(reward) == {"pending": 1.0}  # nothing is known yet
    late.pending[0].set_result(3.0)
    total.result(timeout=0)
    assert report_of(reward) == {"right": 0.0, "form": 1.0, "late": 3.0, "pending": 1.0}


def test_the_verifier_is_the_reward_that_was_named() -> None:
    reward = graded()
    assert verifier_of(reward) is reward.rewards["right"]
    assert verifier_of(WeightedSum({"all": reward}, {"all": 1.0}, verifier="all")) is reward.rewards["right"]
    assert verifier_of(ExactMatch()) == ExactMatch()


def test_a_part_without_submit_makes_the_sum_wait_for_the_end() -> None:
    reward = graded(length=Batch())
    assert not reward.streams
    assert reward.score(RESPONSES, ANSWERS) == [s + 10 * len(r) for s, r in zip(SCORES, RESPONSES, strict=True)]
    assert graded().streams


def test_a_part_that_fails_fails_the_sum() -> None:
    late = Late()
    total = graded(late=late).submit(RESPONSES[0], "5")
    late.pending[0].set_exception(OSError("the judge is down"))
    with pytest.raises(OSError, match="the judge is down"):
        total.result(timeout=0)
    both = WeightedSum({"a": (a := Late()), "b": (b := Late())}, {"a": 1.0, "b": 1.0}, verifier="a")
    total = both.submit("", "")
    a.pending[0].set_exception(OSError("first"))
    b.pending[0].set_exception(OSError("second"))
    with pytest.raises(OSError, match="first"):
        total.result(timeout=0)
    with pytest.raises(OSError, match="the judge is down"):
        graded(judge=Failing()).submit("5", "5")
    with pytest.raises(OSError, match="the judge is down"):
        graded(judge=Failing()).score(["5"], ["5"])


def test_close_reaches_every_part() -> None:
    late = Late()
    graded(late=late).close()
    assert late.closed


def test_with_the_verifier_of_mathematics() -> None:
    form = FormatReward(["\\boxed"])
    parts = {"right": MathReward(processes=1), "form": form}
    reward = WeightedSum(parts, {"right": 1.0, "form": 0.5}, verifier="right")
    try:
        responses, answers = ["\\boxed{x+x}", "\\boxed{x}", "Answer: 2x"], ["2x"] * 3
        futures = [reward.submit(*pair) for pair in zip(responses, answers, strict=True)]
        assert [future.result(timeout=20) for future in futures] == [1.5, 0.5, 1.0]
        assert reward.score(responses, answers) == [1.5, 0.5, 1.0]
        reported = reward.report()
        assert (reported["right"], reported["form"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
        assert reported["no_answer"] == 0
    finally:
        reward.close()


@pytest.mark.parametrize(
    ("response", "score"),
    [
        (" 2 and 2. </think> <answer>4</answer>", 1.1),
        (" 2 and 2. </think> <answer>\nIt is $x = 4$.\n</answer>\n", 1.1),
        (" 2 and 2. </think> <answer>\\boxed{4}</answer>", 1.1),
        (" 2 and 2 is \\boxed{4}. </think> <answer>5</answer>", 0.1),
        (" 2 and 2. <answer>4</answer>", 1.0),  # right, in another form
    ],
)
def test_the_r1_template_can_be_obeyed(response: str, score: float) -> None:
    form = FormatReward(["</think>", "<answer>", "</answer>"], ends=True)  # as configs/reward/format.yaml
    reward = WeightedSum({"math": MathReward(processes=1), "format": form}, {"math": 1.0, "format": 0.1}, "math")
    try:
        assert reward.score([response], ["4"]) == [pytest.approx(score)]
    finally:
        reward.close()


@pytest.mark.parametrize(
    ("weights", "verifier", "said"),
    [
        ({"right": 1.0}, "right", "give each a weight"),
        ({"right": 1.0, "form": 1.0, "more": 1.0}, "right", "give each a weight"),
        ({"right": 1.0, "form": 1.0}, "wrong", "reward.verifier=wrong is none of reward.rewards: right, form"),
    ],
)
def test_names_must_agree(weights: dict[str, float], verifier: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WeightedSum({"right": ExactMatch(), "form": FormatReward(["<a>"])}, weights, verifier)
