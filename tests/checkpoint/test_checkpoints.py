"""Checkpoints as folders: which are kept, which is gone on from."""

import logging
from pathlib import Path

import pytest

from gmpo.checkpoint import folder as checkpoints
from gmpo.checkpoint.folder import Manifest


def make(folder: Path, *steps: int) -> None:
    for step in steps:
        path = checkpoints.folder_of(folder, step)
        path.mkdir(parents=True)
        (path / "shares").write_text("x" * step)
        Manifest(step, 1, {}, {"shares": [step, checkpoints.crc32(path / "shares")]}).write(path)


@pytest.mark.parametrize(
    ("keep", "scores", "left"),
    [
        (2, {}, [9, 10]),
        (1, {}, [10]),
        (9, {}, [1, 2, 9, 10]),
        (1, {2: 0.5, 9: 0.4}, [2, 10]),
        (1, {2: 0.5, 9: 0.5}, [9, 10]),  # the newest of equals
        (1, {10: 1.0, 1: 0.5}, [10]),
        (1, {7: 3.0}, [10]),  # of one that is gone
    ],
)
def test_the_newest_and_the_best_are_kept(tmp_path: Path, keep: int, scores: dict[int, float], left: list[int]) -> None:
    make(tmp_path, 10, 9, 1, 2)
    checkpoints.prune(tmp_path, keep, scores)
    assert checkpoints.steps_in(tmp_path) == left
    assert len(list(tmp_path.iterdir())) == len(left)


def test_steps_are_numbers_and_nothing_else_is_one(tmp_path: Path) -> None:
    make(tmp_path, 9, 100)
    (tmp_path / "unfinished-step-200").mkdir()
    (tmp_path / "damaged-step-300").mkdir()
    (tmp_path / "step-x").mkdir()
    (tmp_path / "step-400").write_text("")
    assert checkpoints.steps_in(tmp_path) == [9, 100]
    assert checkpoints.steps_in(tmp_path / "nowhere") == []
    checkpoints.remove_unfinished(tmp_path)
    assert not (tmp_path / "unfinished-step-200").exists()


def test_the_newest_whole_one_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert checkpoints.newest_whole(tmp_path / "nowhere") is None
    make(tmp_path, 9, 100, 20)
    (tmp_path / "step-100" / "shares").write_text("x" * 99)
    with caplog.at_level(logging.ERROR):
        assert checkpoints.newest_whole(tmp_path) == tmp_path / "step-20"
    assert "shares has 99 bytes and not 100" in caplog.text
    assert (tmp_path / "damaged-step-100").is_dir()
    (tmp_path / "step-9" / "checkpoint.json").unlink()
    (tmp_path / "step-20" / "shares").unlink()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"every checkpoint in .* is damaged \(step-20: .*: start anew with"):
            checkpoints.newest_whole(tmp_path)


@pytest.mark.parametrize(
    "manifest",
    [
        "{",
        "{}",
        '{"rollout_step": 4, "ranks": 1, "versions": {}, "files": {}}',  # of another step
        '{"rollout_step": 5, "ranks": 1, "versions": {}, "files": [1]}',
        '{"rollout_step": 5, "ranks": 1, "versions": {}, "files": {"shares": 5}}',
    ],
)
def test_a_damaged_manifest_is_damage(tmp_path: Path, manifest: str) -> None:
    make(tmp_path, 5)
    (tmp_path / "step-5" / "checkpoint.json").write_text(manifest)
    assert checkpoints.damage(tmp_path / "step-5") is not None


def test_one_of_the_same_step_is_put_aside(tmp_path: Path) -> None:
    make(tmp_path, 5)
    new = tmp_path / "unfinished-step-5"
    new.mkdir()
    (new / "new").write_text("")
    checkpoints.publish(new, tmp_path / "step-5")
    assert (tmp_path / "step-5" / "new").exists()
    assert (tmp_path / "damaged-step-5" / "shares").exists()
