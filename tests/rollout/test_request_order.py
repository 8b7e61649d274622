"""Prompts whose responses were long come first."""

from pathlib import Path

import torch
from conftest import make_prompt

from gmpo.checkpoint.storage import load_meta
from gmpo.rollout import ExpectedLengths


def expected() -> ExpectedLengths:
    lengths = ExpectedLengths()
    lengths.learn([(("test", 0), [1, 3]), (("test", 1), [9, 9]), (("other", 2), [7])])
    lengths.learn([(("test", 0), [4, 4])])  # the latest is what counts
    return lengths


def test_long_ones_come_first_and_unknown_ones_between() -> None:
    prompts = [make_prompt("1+1", index) for index in (0, 2, 3, 1, 0)]
    assert expected().longest_first(prompts) == [3, 1, 2, 0, 4]
    assert ExpectedLengths().longest_first(prompts) == [0, 1, 2, 3, 4]


def test_they_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    for lengths in (expected(), ExpectedLengths()):
        torch.save(lengths.state_dict(), tmp_path / "state")
        again = expected()
        again.load_state_dict(load_meta(tmp_path / "state"))
        assert again.of == lengths.of
