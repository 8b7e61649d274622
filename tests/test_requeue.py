"""What Slurm is asked, as far as it takes no Slurm; tests/slurm has the rest."""

import logging
from pathlib import Path

import pytest

from gmpo.requeue import requeue, slurm_job


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
