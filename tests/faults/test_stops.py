"""Signals to a run: it ends with everything saved, or at once, and leaves no process behind."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from short_runs import Started, responses, rows, run, start, steps_saved, wait_for

from gmpo.run.signals import RESUME

pytestmark = pytest.mark.slow


def processes_of(started: Started) -> list[psutil.Process]:
    """All that it started, and itself."""
    itself = psutil.Process(started.pid)
    return [itself, *itself.children(recursive=True)]


def assert_gone(processes: list[psutil.Process]) -> None:
    wait_for(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes), 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_saves_after_the_step_and_the_same_command_goes_on(
    qwen2_folder: str, tmp_path: Path, number: signal.Signals
) -> None:
    never = "checkpoint.every=100"
    stopped = start(qwen2_folder, tmp_path, never)
    stopped.wait_for("step 2/6")
    os.kill(stopped.pid, number)
    assert stopped.wait() == RESUME, stopped.said()
    assert f"{number.name}: finishing and saving this step" in stopped.said()
    folder = tmp_path / "quickstart"
    (step,) = steps_saved(folder)
    assert f"stopped by {number.name} after step {step} of 6: the same command resumes the run" in stopped.said()
    again = start(qwen2_folder, tmp_path, never)
    assert again.wait() == 0, again.said()
    assert f"resuming {folder} after step {step} of 6" in again.said()
    whole = run(qwen2_folder, tmp_path / "whole", never)
    assert (rows(folder), responses(folder)) == (rows(whole), responses(whole))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR2])
def test_a_signal_to_all_processes_leaves_none_of_two_ranks_with_engines_of_their_own(
    qwen2_folder: str, tmp_path: Path, number: signal.Signals
) -> None:
    settings = ("cluster=cpu2", "rollout.subprocess=true", "run.steps=1000", "run.validate_every=null")
    running = start(qwen2_folder, tmp_path, *settings)
    running.wait_for("step 2/1000", 90)
    processes = processes_of(running)
    assert len(processes) >= 4  # two ranks, two engines
    os.killpg(running.pid, number)  # as a terminal does, and Slurm
    assert running.wait() == RESUME, running.said()
    assert_gone(processes[1:])
    (step,) = steps_saved(tmp_path / "quickstart")[-1:]
    assert f"stopped by {number.name} after step {step}" in running.said()
    assert "the engine" not in running.said()  # none has died


def test_a_second_signal_ends_it_at_once(qwen2_folder: str, tmp_path: Path) -> None:
    """In a generation that would take a while."""
    settings = ("sampling.max_tokens=400", "run.validate_every=null", "batch.prompts=32", "batch.mini_batch_prompts=32")
    running = start(qwen2_folder, tmp_path, *settings, "dynamic_sampling.max_refills=0", "checkpoint.every=100")
    running.wait_for("step 1/6", 90)
    time.sleep(1)  # the next generation is under way
    processes = processes_of(running)
    os.kill(running.pid, signal.SIGTERM)
    running.wait_for("a second signal stops at once")
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait() == RESUME
    assert "stopped at once (SIGTERM)" in running.said()
    assert "step 2/6" not in running.said(), "it did not finish the step"
    assert_gone(processes[1:])
    assert not (tmp_path / "quickstart" / "checkpoints").exists()


def test_the_grace_ends_it(qwen2_folder: str, tmp_path: Path) -> None:
    settings = ("sampling.max_tokens=400", "run.validate_every=null", "batch.prompts=32", "batch.mini_batch_prompts=32")
    running = start(qwen2_folder, tmp_path, *settings, "dynamic_sampling.max_refills=0", "checkpoint.grace=0.2")
    running.wait_for("step 1/6", 90)
    time.sleep(1)
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait() == RESUME
    assert "stopped at once (not done within 0 s of SIGTERM)" in running.said()


def test_before_the_first_step_there_is_nothing_to_save(qwen2_folder: str, tmp_path: Path) -> None:
    running = start(qwen2_folder, tmp_path, "validation.max_tokens=400", "data.dataset.validation_size=256")
    wait_for(lambda: (tmp_path / "quickstart" / "config.yaml").exists(), 60)
    time.sleep(1)
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait(20) in (RESUME, -signal.SIGTERM)  # the second where the engine was still loading


LIGHTNING_STOPS = {
    "callback": ("+callbacks.stops._target_=stops_at.StopsAt", "+callbacks.stops.step=3"),
    "timer": ("+trainer.max_time='00:00:00:00'",),
    "early stopping": (
        "+callbacks.early._target_=lightning.pytorch.callbacks.EarlyStopping",
        "+callbacks.early.monitor=val/arithmetic/mean@1",
        "+callbacks.early.min_delta=1000",  # no improvement: it stops at the second validation
        "+callbacks.early.patience=1",
        "+callbacks.early.mode=max",
    ),
}


@pytest.mark.parametrize("kind", LIGHTNING_STOPS)
def test_a_stop_by_lightning_is_not_the_end(qwen2_folder: str, tmp_path: Path, kind: str) -> None:
    never = "checkpoint.every=100"
    stopped = start(qwen2_folder, tmp_path, never, *LIGHTNING_STOPS[kind])
    assert stopped.wait() == RESUME, stopped.said()
    folder = tmp_path / "quickstart"
    step = max(((folder / "checkpoints").is_dir() and steps_saved(folder)) or [0])
    assert f"stopped by Lightning after step {step} of 6: the same command resumes the run" in stopped.said()
    assert not (folder / "finished").exists()
    assert not (folder / "model").exists()
    again = start(qwen2_folder, tmp_path, never)
    assert again.wait() == 0, again.said()
    assert (folder / "finished").exists()
    whole = run(qwen2_folder, tmp_path / "whole", never)
    assert (rows(folder), responses(folder)) == (rows(whole), responses(whole))


def test_a_time_limit_of_lightning_is_of_one_process(qwen2_folder: str, tmp_path: Path) -> None:
    command = ("checkpoint.every=100", "run.steps=5000", "run.validate_every=null", "+trainer.max_time={seconds: 1}")
    command += ("dynamic_sampling.max_refills=0",)  # a fast machine solves the task within a second
    made = []
    for _ in range(2):
        stopped = start(qwen2_folder, tmp_path, *command)
        assert stopped.wait() == RESUME, stopped.said()
        made.append(len(rows(tmp_path / "quickstart")))
    assert 0 < made[0] < made[1], "the second process has a second of its own"
