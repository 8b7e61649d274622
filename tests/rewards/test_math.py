"""What counts as the same answer: each class of notation both ways, through the real workers."""

import csv
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest

from gmpo.rewards import MathReward

HERE = Path(__file__).resolve().parents[1] / "verifier"


def pairs_by_class(file: str) -> dict[str, list[tuple[str, str]]]:
    """Gold answer and answer."""
    with (HERE / file).open(encoding="utf-8") as rows:
        read = csv.reader(rows, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(read)
        return {kind: [(gold, answer) for _, gold, answer in group] for kind, group in groupby(read, itemgetter(0))}


SAME, DIFFERENT = pairs_by_class("same.tsv"), pairs_by_class("different.tsv")


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    with MathReward(processes=2) as reward:
        yield reward


def judged(reward: MathReward, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], float]:
    scores = reward.score([f"so it is $\\boxed{{{answer}}}$." for _, answer in pairs], [gold for gold, _ in pairs])
    return dict(zip(pairs, scores, strict=True))


def test_each_class_is_tried_both_ways() -> None:
    assert SAME.keys() | {"exact numbers", "exact numbers inside"} == DIFFERENT.keys()


@pytest.mark.parametrize("kind", SAME)
def test_the_same_in_another_notation(reward: MathReward, kind: str) -> None:
    assert judged(reward, SAME[kind]) == dict.fromkeys(SAME[kind], 1.0)


@pytest.mark.parametrize("kind", DIFFERENT)
def test_not_the_same(reward: MathReward, kind: str) -> None:
    assert judged(reward, DIFFERENT[kind]) == dict.fromkeys(DIFFERENT[kind], 0.0)


def test_scores_keep_the_order_of_the_responses(reward: MathReward) -> None:
    answers = [str(n) for n in range(200)]
    responses = [f"\\boxed{{{n} + 0 \\cdot x}}" if n % 3 else f"\\boxed{{{n + 1}}}" for n in range(200)]
    assert reward.score(responses, answers) == [float(n % 3 > 0) for n in range(200)]


def test_a_gold_answer_may_be_a_solution_with_a_box(reward: MathReward) -> None:
    assert reward.score(["Answer: 1/2"], ["We find \\boxed{\\frac{1}{2}}."]) == [1.0]


def test_without_an_answer_the_score_is_0_and_counted(reward: MathReward) -> None:
    reward.report()
    assert reward.score(["it is 5", "", "\\boxed{}", "\\boxed{5}"], ["5", "5", "5", ""]) == [0.0] * 4
    assert reward.report()["no_answer"] == 4
    assert reward.report()["no_answer"] == 0


def test_the_last_number_counts_where_the_config_says_so() -> None:
    with MathReward(processes=1, last_number=True) as reward:
        assert reward.score(["first 3, then 1,234.", "\\boxed{2} and 3"], ["1234", "3"]) == [1.0, 0.0]


def test_a_long_answer_is_compared_as_text(reward: MathReward) -> None:
    long = "+".join(["x"] * 800)
    assert reward.score([f"\\boxed{{{long}}}", f"\\boxed{{{long}+1}}"], [long, long]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"timeout": 0}, "timeout=0"), ({"processes": 0}, "processes=0"), ({"memory_gib": -1}, "memory_gib=-1")],
)
def test_impossible_settings(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MathReward(**settings)  # type: ignore[arg-type]
