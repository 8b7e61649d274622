import statistics

import pytest
import torch

from gmpo.advantages import GroupNorm, LeaveOneOut

REWARDS = [1.0, 0.0, 0.5, 2.0, 0.0, 1.0, 3.0]
GROUPS = [7, 2, 7, 2, 7, 5, 2]  # of three, three and one


def group(i: int) -> list[float]:
    return [r for r, g in zip(REWARDS, GROUPS, strict=True) if g == GROUPS[i]]


def compute(estimator: object) -> list[float]:
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    return estimator(rewards, torch.tensor(GROUPS)).tolist()  # type: ignore[operator]


def test_group_norm_is_its_formula() -> None:
    for i, advantage in enumerate(compute(GroupNorm())):
        peers = group(i)
        std = statistics.stdev(peers) if len(peers) > 1 else 1.0
        expected = (REWARDS[i] - statistics.fmean(peers)) / (std + 1e-6) if len(peers) > 1 else 0.0
        assert advantage == pytest.approx(expected)


def test_without_std_it_is_the_centred_reward() -> None:
    for i, advantage in enumerate(compute(GroupNorm(normalize_by_std=False))):
        assert advantage == pytest.approx(REWARDS[i] - statistics.fmean(group(i)))


def test_leave_one_out_is_its_formula() -> None:
    for i, advantage in enumerate(compute(LeaveOneOut())):
        others = group(i)
        others.remove(REWARDS[i])
        assert advantage == pytest.approx(REWARDS[i] - statistics.fmean(others) if others else 0.0)


@pytest.mark.parametrize("estimator", [GroupNorm(), GroupNorm(False), LeaveOneOut()], ids=str)
def test_equal_rewards_give_exactly_no_signal(estimator: GroupNorm | LeaveOneOut) -> None:
    rewards = torch.full((7,), 0.1)  # its mean over seven is not 0.1 in float32
    assert rewards.mean() != rewards[0] or (rewards.sum() / 7 != rewards[0])
    assert (estimator(rewards, torch.zeros(7, dtype=torch.long)) == 0).all()
