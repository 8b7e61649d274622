"""What a run shows and leaves of it: its log, what was typed, what is said of a long generation, modes of files."""

import os
import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from short_runs import start

pytestmark = pytest.mark.slow


def test_a_run_leaves_what_it_showed_and_what_was_typed(qwen2_folder: str, tmp_path: Path) -> None:
    often = ("run.steps=4", "callbacks.progress.every=0.01", "rollout.engine.max_num_seqs=1")
    begun = start(qwen2_folder, tmp_path, *often, "guards.response_length.low=99", umask=0o027)
    begun.wait_for("step 2/4")
    os.kill(begun.pid, signal.SIGINT)
    assert begun.wait() == 75
    assert start(qwen2_folder, tmp_path, *often, "guards.response_length.low=99", umask=0o027).wait() == 0
    folder = tmp_path / "quickstart"
    log, shown = (folder / "log.txt").read_text(), begun.said()
    assert [line for line in log.splitlines() if line not in shown.splitlines()], "it goes beyond the first process"
    assert set(shown.splitlines()) <= set(log.splitlines())
    assert log.count("python train.py") == 2
    for text in (
        "validation before training: 4 problems of arithmetic (data.validation_limit)",
        "/4 responses finished",
        "/16 responses finished",
        "SIGINT: finishing and saving this step",
        "rollout/response_length",  # a guard's warning
        "resuming ",
        "step 4/4  reward ",
        f"run folder: {folder}",
    ):
        assert text in log
    assert log.count("validation before training") == 1
    assert "run.steps=4" in OmegaConf.load(folder / "overrides.yaml")
    assert "pass@1" not in (folder / "metrics.csv").read_text()
    modes = {str(path): path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert set(modes.values()) == {0o640}, modes


def test_before_the_first_step_there_is_nothing_to_save(qwen2_folder: str, tmp_path: Path) -> None:
    slow = ("rollout.engine.max_num_seqs=1", "data.dataset.validation_size=4000")
    for text in ("validation before training", "beginning again"):  # in a validation, and while the engine starts
        running = start(qwen2_folder, tmp_path, *slow)
        running.wait_for(text)
        os.kill(running.pid, signal.SIGINT)
        assert running.wait() == 75
        assert "stopped by SIGINT before the first step: nothing to save, give the same command again" in running.said()
        assert "Traceback" not in running.said()
    log = (tmp_path / "quickstart" / "log.txt").read_text()
    assert log.count("stopped by SIGINT before the first step") == 1, "the second one had not begun to record"
    assert not (tmp_path / "quickstart" / "checkpoints").exists()
