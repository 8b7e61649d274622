import statistics
from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmpo.advantages import GroupNorm, LeaveOneOut

Estimator = GroupNorm | LeaveOneOut
REWARDS = st.sampled_from([0.0, 1.0, 0.1, -0.5]) | st.floats(-2, 2)


def group_norm(reward: float, others: list[float]) -> float:
    return group_mean(reward, others) / (statistics.stdev([reward, *others]) + 1e-6)


def group_mean(reward: float, others: list[float]) -> float:
    return reward - statistics.fmean([reward, *others])


def leave_one_out(reward: float, others: list[float]) -> float:
    return reward - statistics.fmean(others)


@pytest.mark.parametrize(
    ("estimator", "formula"),
    [(GroupNorm(), group_norm), (GroupNorm(normalize_by_std=False), group_mean), (LeaveOneOut(), leave_one_out)],
    ids=["group_norm", "group_mean", "leave_one_out"],
)
def test_advantage_is_its_formula(estimator: Estimator, formula: Callable[[float, list[float]], float]) -> None:
    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.tuples(REWARDS, st.sampled_from([7, 2, -1, 5])), min_size=1, max_size=12))
    @example([(1.0, 7), (0.0, 2), (0.5, 7), (2.0, 2), (0.0, 7), (1.0, 5), (3.0, 2)])  # of three, three and one
    @example([(0.1, 2)] * 7 + [(0.3, 7)])
    def check(responses: list[tuple[float, int]]) -> None:
        rewards, groups = zip(*responses, strict=True)
        advantages = estimator(torch.tensor(rewards, dtype=torch.float64), torch.tensor(groups)).tolist()
        for i, (reward, group) in enumerate(responses):
            others = [r for j, (r, g) in enumerate(responses) if g == group and j != i]
            if all(other == reward for other in others):  # or there is none
                assert advantages[i] == 0
            else:
                assert advantages[i] == pytest.approx(formula(reward, others), rel=1e-9, abs=1e-9)

    check()


@pytest.mark.parametrize("estimator", [GroupNorm(), GroupNorm(False), LeaveOneOut()], ids=str)
def test_equal_rewards_give_exactly_no_signal(estimator: Estimator) -> None:
    rewards = torch.full((7,), 0.1)  # its mean over seven is not 0.1 in float32
    assert rewards.mean() != rewards[0] or (rewards.sum() / 7 != rewards[0])
    assert (estimator(rewards, torch.zeros(7, dtype=torch.long)) == 0).all()
