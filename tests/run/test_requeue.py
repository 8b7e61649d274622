"""What Slurm is asked, as far as it takes no Slurm; tests/slurm has the rest."""

import logging
from pathlib import Path

import pytest

from gmpo.callbacks import CheckpointCallback
from gmpo.run.requeue import requeue, slurm_job


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "17"}, "17"),
        ({"SLURM_JOB_ID": "17", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"}, "17_3"),  # and not all of 17
    ],
)
def test_the_job_of_this_process(environment: dict[str, str], job: str | None) -> None:
    assert slurm_job(environment) == job


def test_outside_of_slurm_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with caplog.at_level(logging.WARNING):
        requeue()
    assert not caplog.messages


def test_a_job_without_scontrol_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        requeue()
    _, said = caplog.messages
    assert said.startswith("job 17 is not requeued ([Errno 2] No such file or directory: 'scontrol'): submit it again")


def test_what_could_not_be_saved_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    callback = CheckpointCallback(str(tmp_path), 1, None, 1, None, "max", False, 3, 600.0, requeue=True)
    callback.writer.failed = 1
    with caplog.at_level(logging.WARNING):
        callback._ask_for_requeue()
    (said,) = caplog.messages
    assert said.startswith("the job is not requeued: its steps could not be saved")
