"""A disk that is full, and checkpoints that are damaged."""

import re
import subprocess
from pathlib import Path

import pytest
from short_runs import responses, rows, run, start, steps_saved

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A real one of 5 MiB, in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(disk)], capture_output=True)
    if done.returncode != 0:
        pytest.skip("mounting a file system needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_keeps_the_checkpoint_before_and_training_goes_on(
    qwen2_folder: str, tmp_path: Path, small_disk: Path
) -> None:
    """A checkpoint takes about 1.2 MB: there is room for some, then for none, then for some again."""
    filler = "+callbacks.filler._target_=disk_filler.FillsTheDisk"
    settings = ("run.steps=8", "checkpoint.every=1", "run.validate_every=4")
    full = start(qwen2_folder, small_disk, *settings, filler, f"+callbacks.filler.disk={small_disk}")
    assert full.wait() == 0, full.said()
    said = re.findall(
        r"the checkpoint of step (\d) could not be written \((.*)\): the newest is that of step (\d)", full.said()
    )
    assert [(int(step), int(newest)) for step, _, newest in said] == [(3, 2), (4, 2)]
    assert all("0.0 MiB are free there" in reason for _, reason, _ in said)
    folder = small_disk / "quickstart"
    assert steps_saved(folder)[-1] == 8
    whole = run(qwen2_folder, tmp_path / "whole", *settings)
    assert (rows(folder), responses(folder)) == (rows(whole), responses(whole))


def test_a_disk_that_stays_full_ends_the_run_and_keeps_the_checkpoint(
    qwen2_folder: str, small_disk: Path, tmp_path: Path
) -> None:
    filler = ("+callbacks.filler._target_=disk_filler.FillsTheDisk", "+callbacks.filler.until=1000")
    full = start(
        qwen2_folder, small_disk, "run.steps=50", "checkpoint.every=1", *filler, f"+callbacks.filler.disk={small_disk}"
    )
    assert full.wait() == 1, full.said()
    assert "error: 3 checkpoints in a row could not be written" in full.said()
    assert max(steps_saved(small_disk / "quickstart")) == 2
    (small_disk / "filler").unlink()
    again = start(qwen2_folder, small_disk, "run.steps=50", "checkpoint.every=1", "run.steps=4")
    assert again.wait() == 0, again.said()
    assert "after step 2 of 4" in again.said()
    whole = run(qwen2_folder, tmp_path / "whole", "run.steps=4")
    assert rows(small_disk / "quickstart") == rows(whole)


def damage(checkpoint: Path, how: str) -> None:
    shares = checkpoint / "__0_0.distcp"
    content = bytearray(shares.read_bytes())
    if how == "truncated":
        shares.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        shares.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "a byte"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(qwen2_folder: str, tmp_path: Path, how: str) -> None:
    whole = run(qwen2_folder, tmp_path / "whole")
    folder = run(qwen2_folder, tmp_path, "run.steps=4")
    (folder / "finished").unlink()
    damage(folder / "checkpoints" / "step-4", how)
    again = start(qwen2_folder, tmp_path)
    assert again.wait() == 0, again.said()
    assert re.search(
        r"checkpoint \S*step-4 is damaged \(.+\): renamed to damaged-step-4, taking the one before", again.said()
    )
    assert "after step 2 of 6" in again.said()
    assert rows(folder) == rows(whole)
    assert responses(folder) == responses(whole)


def test_where_all_are_damaged_nothing_is_thrown_away(qwen2_folder: str, tmp_path: Path) -> None:
    folder = run(qwen2_folder, tmp_path, "run.steps=4")
    (folder / "finished").unlink()
    before = rows(folder)
    for step in (2, 4):
        damage(folder / "checkpoints" / f"step-{step}", "truncated")
    for _ in range(2):  # a scheduler tries again
        again = start(qwen2_folder, tmp_path)
        assert again.wait() == 1
        assert "error: every checkpoint in" in again.said()
        assert "resume=never" in again.said()
        assert rows(folder) == before
