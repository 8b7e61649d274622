"""`train.py` on two nodes of a real Slurm: warned of its time limit it is requeued, and ends with the same numbers."""

import csv
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT
from two_nodes import TwoNodes, missing

from gmpo.run.requeue import requeue

pytestmark = [pytest.mark.slurm, pytest.mark.distributed, pytest.mark.slow]
needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
needs_submitit = pytest.mark.skipif(find_spec("submitit") is None, reason="hydra-submitit-launcher is not installed")

SMALL = (
    "experiment=quickstart",
    "model=local",
    "~reward.marker",
    "reward._target_=rewards_for_faults.EarlyDigitOrLuck",
    "dynamic_sampling.max_refills=1",
    "batch.prompts=4",
    "batch.group_size=4",
    "batch.mini_batch_prompts=2",
    "sampling.max_tokens=12",
    "data.dataset.validation_size=4",
    "run.steps=6",
    "run.validate_every=3",
    "checkpoint.every=100",  # a signal's alone
    "optimizer.lr=1e-2",
    "cluster.threads=1",
)
TRANSFORMERS = (*SMALL, "rollout=transformers")
ENVIRONMENT = {"PYTHONPATH": str(ROOT / "tests" / "faults"), "OMP_NUM_THREADS": "1", "PYTHON": sys.executable}
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def slurm() -> Iterator[TwoNodes]:
    if reason := missing():
        pytest.skip(f"no Slurm: {reason}")
    with TwoNodes(ENVIRONMENT) as nodes:
        yield nodes


def places(model: str, root: Path) -> tuple[str, ...]:
    return f"model.path={model}", f"run.root={root}"


def sbatch(slurm: TwoNodes, log: Path, *arguments: str) -> str:
    """Submit the project's script; returns the number of the job."""
    asked = ("--nodes=2", "--ntasks-per-node=1", f"--output={log}", f"--chdir={ROOT}")
    return slurm.run("sbatch", "--parsable", *asked, str(ROOT / "scripts" / "train.sbatch"), *arguments).strip()


def text(log: Path) -> str:
    return log.read_text() if log.is_file() else ""


def wait_for_text(slurm: TwoNodes, log: Path, wanted: str) -> None:
    slurm.wait_for(lambda: wanted in text(log), 120, lambda: text(log))


def wait_for_state(slurm: TwoNodes, job: str, state: str, log: Path) -> dict[str, str]:
    """What is known of the job once it has come to `state`, or to its end."""
    ends = (state, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
    slurm.wait_for(lambda: slurm.job(job).get("JobState") in ends, 120, lambda: text(log))
    assert slurm.job(job)["JobState"] == state, text(log)
    return slurm.job(job)


def assert_goes_on_after(slurm: TwoNodes, job: str, number: signal.Signals, log: Path, folder: Path) -> None:
    """Warn the job in its second step, and see it requeued by the run itself, once, and completed."""
    wait_for_text(slurm, log, "step 1/6")
    slurm.run("scancel", f"--signal={number.name}", job)
    assert wait_for_state(slurm, job, "PENDING", log)["Restarts"] == "1"
    (saved,) = (folder / "checkpoints").iterdir()
    step = saved.name.removeprefix("step-")
    # Slurm would let two minutes pass; within a second it takes the new job for the one that it has just ended
    slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now+2")
    assert wait_for_state(slurm, job, "COMPLETED", log)["Restarts"] == "1"
    said = text(log)
    assert said.count(f"{number.name}: finishing and saving this step") == 1
    assert said.count(f"stopped by {number.name} after step {step} of 6: the same command resumes the run") == 1
    assert said.count(f"asking Slurm to start job {job} again: the run resumes there") == 1
    assert said.count(f"resuming {folder} after step {step} of 6") == 1
    assert "stopped at once" not in said
    assert not list(folder.parent.rglob("hpc_ckpt*"))  # what Lightning would leave, were it the one that requeues


def uninterrupted(slurm: TwoNodes, root: Path, *arguments: str) -> Rows:
    """metrics.csv of the same run on two ranks that Lightning starts."""
    command = [sys.executable, "train.py", *arguments, f"run.root={root}", "cluster=cpu2"]
    done = subprocess.run(command, cwd=ROOT, env=slurm.environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return rows(root / "quickstart")


def rows(folder: Path) -> Rows:
    """metrics.csv without what depends on the clock."""
    with (folder / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    timed = ("time/", "throughput/tokens_per_second", "throughput/imbalance")
    return [{name: value for name, value in row.items() if not name.startswith(timed)} for row in found]


@needs_vllm
@pytest.mark.vllm
def test_the_script_is_requeued_and_ends_with_the_same_numbers(
    slurm: TwoNodes, qwen2_folder: str, tmp_path: Path
) -> None:
    log, folder = tmp_path / "log", tmp_path / "quickstart"
    job = sbatch(slurm, log, *SMALL, *places(qwen2_folder, tmp_path))
    assert_goes_on_after(slurm, job, signal.SIGUSR1, log, folder)
    assert rows(folder) == uninterrupted(slurm, tmp_path / "whole", *SMALL, f"model.path={qwen2_folder}")


@pytest.fixture(scope="module")
def cancelled(slurm: TwoNodes, qwen2_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Rows of a longer run that was not interrupted before its fifth step, and then not requeued."""
    root = tmp_path_factory.mktemp("cancelled")
    log = root / "log"
    job = sbatch(slurm, log, *TRANSFORMERS, *places(qwen2_folder, root), "run.steps=1000")
    wait_for_text(slurm, log, "step 4/1000")
    slurm.run("scancel", "--signal=TERM", job)
    ended = wait_for_state(slurm, job, "FAILED", log)
    assert (ended["ExitCode"], ended["Restarts"]) == ("75:0", "0")
    assert "asking Slurm" not in text(log)
    made = rows(root / "quickstart")
    last = made[-1]["rollout_step"]
    assert f"stopped by SIGTERM after step {last} of 1000: the same command resumes the run" in text(log)
    assert f"step-{last}" in [path.name for path in (root / "quickstart" / "checkpoints").iterdir()]
    return made


def test_a_cancelled_job_is_saved_and_not_requeued(cancelled: Rows) -> None:
    assert [row["rollout_step"] for row in cancelled] == [str(step) for step in range(len(cancelled))]
    assert len(cancelled) > 4


@needs_submitit
def test_submitit_is_requeued_and_ends_with_the_same_numbers(
    slurm: TwoNodes, qwen2_folder: str, tmp_path: Path, cancelled: Rows
) -> None:
    folder = tmp_path / "quickstart"
    submit = ("-m", "hydra/launcher=submitit_slurm", "cluster.nodes=2", *places(qwen2_folder, tmp_path))
    with (tmp_path / "output").open("w") as output:
        submitting = subprocess.Popen(
            [sys.executable, "train.py", *submit, *TRANSFORMERS],
            cwd=ROOT,
            env=slurm.environment,
            stdout=output,
            stderr=output,
        )
    try:
        (script,) = slurm.wait_for(
            lambda: list(tmp_path.glob("submitit/*/*_submission.sh")), 60, lambda: text(tmp_path / "output")
        )
        job = script.parent.name
        asked = script.read_text()
        for option in ("nodes=2", "ntasks-per-node=1", "signal=USR2@600", "requeue", "job-name=quickstart"):
            assert f"#SBATCH --{option}\n" in asked
        assert "gpus" not in asked
        assert_goes_on_after(slurm, job, signal.SIGUSR2, script.parent / f"{job}_0_log.out", folder)
        assert submitting.wait(30) == 0, text(tmp_path / "output")
    finally:
        submitting.kill()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output", "quickstart", "submitit"]
    common = min(len(rows(folder)), len(cancelled))
    assert rows(folder)[:common] == cancelled[:common]


def test_what_slurm_refuses_is_said(
    slurm: TwoNodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in (slurm.environment | {"SLURM_JOB_ID": "99999"}).items():
        monkeypatch.setitem(os.environ, name, value)
    with caplog.at_level(logging.WARNING):
        requeue()
    _, said = caplog.messages
    assert said.startswith("job 99999 is not requeued (")
    assert "Invalid job id" in said
