"""What is generated ahead goes through a checkpoint unchanged."""

from pathlib import Path

import torch
from conftest import make_prompt

from gmpo.checkpoint.storage import load_meta
from gmpo.rollout.group_state import as_groups, as_state
from gmpo.types import Group, Response, Rollout


def test_groups_come_back_from_a_file_as_they_were(tmp_path: Path) -> None:
    responses = [
        Response([7, 1], [-0.1, -1 / 3], "a", truncated=False),
        Response([9], [-2e-17], "", truncated=True),
        Response([5, 6, 1], [-1.0, -2.0, 0.0], "ümlaut", truncated=False),
        Response([1], [-1e9], "b", truncated=False),
    ]
    rollouts = [Rollout(r, float(i), final_answer=[None, "", "4", "5"][i]) for i, r in enumerate(responses)]
    prompts = [make_prompt("1+1", 5), make_prompt("2+2", 9)]
    groups = [Group(prompts[0], rollouts[:2]), Group(prompts[1], rollouts[2:])]
    torch.save(as_state(groups), tmp_path / "state")
    assert as_groups(load_meta(tmp_path / "state"), prompts) == groups


def test_no_groups_are_none() -> None:
    assert as_groups(as_state([]), []) == []
