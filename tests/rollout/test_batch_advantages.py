"""Advantages see the whole batch, whatever the ranks are that hold it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ENVIRONMENT, ROOT, make_prompt
from rollout.advantage_ranks import whitened
from small_training import groups

from gmpo.advantages import GroupNorm
from gmpo.rollout.batch_advantages import Advantage, BatchAdvantages
from gmpo.run.errors import RunError
from gmpo.types import Group, Response, Rollout


@pytest.mark.distributed
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_an_advantage_that_whitens_over_the_batch_does_not_depend_on_the_ranks(ranks: int) -> None:
    script = str(Path(__file__).with_name("advantage_ranks.py"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", script]
    environment = ENVIRONMENT | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    rollouts = [(index, rollout) for index, group in enumerate(groups(6)) for rollout in group.rollouts]
    rewards = torch.tensor([rollout.reward for _, rollout in rollouts])
    lengths = torch.tensor([len(rollout.response.token_ids) for _, rollout in rollouts])
    expected = whitened(rewards, torch.tensor([index for index, _ in rollouts]), lengths)
    assert torch.equal(torch.tensor(json.loads(done.stdout)).flatten(), expected)


def test_the_public_call_is_of_rewards_and_group_ids() -> None:
    made = groups(2)
    BatchAdvantages(GroupNorm()).assign(made)
    expected = GroupNorm()(torch.tensor([0.0, 1, 2, 0, 1, 2]), torch.tensor([0, 0, 0, 1, 1, 1]))
    assert [rollout.advantage for group in made for rollout in group.rollouts] == expected.tolist()


@pytest.mark.parametrize(
    ("advantage", "message"),
    [
        (lambda rewards, ids: rewards[:1], r"ValueError: it returned shape \[1\] for 4 rewards"),
        (lambda rewards, ids: rewards / 0, "values that are not finite, of rewards that are"),
        (lambda rewards, ids: ids[99], "IndexError"),
        (lambda rewards, ids: None, "AttributeError"),
    ],
)
def test_an_advantage_that_fails_is_named(advantage: Advantage, message: str) -> None:
    group = Group(make_prompt("1+1"), [Rollout(Response([1], [0.0], "", False), float(i)) for i in range(4)])
    with pytest.raises(RunError, match=rf"the advantage function failed: .*{message}.*rewards float \[B\]"):
        BatchAdvantages(advantage).assign([group])
