"""`train.py` on several ranks as a user starts it: what it learns, prints and leaves, and how it ends."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import forked
import psutil
import pytest
from conftest import ENVIRONMENT, ROOT

pytestmark = [pytest.mark.distributed, pytest.mark.slow]
needs_vllm = [pytest.mark.vllm, pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")]

SMALL = (
    "experiment=quickstart",
    "model=local",
    "~reward.marker",
    "reward._target_=digit_reward.DigitShare",
    "data.dataset.validation_size=9",  # not to be divided by two
    "batch.prompts=8",
    "batch.mini_batch_prompts=4",
    "sampling.max_tokens=12",
    "cluster.threads=1",
    "policy.old_log_probs=trainer",  # as the recipes
)
PATHS = [str(ROOT / folder) for folder in ("src", "tests/smoke", "tests/distributed")]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
LIGHTNING = ("cluster=cpu2",)
T = TypeVar("T")
Rows = list[dict[str, str]]


def arguments_of(model: str, root: Path, *overrides: str) -> list[str]:
    return [*SMALL, f"model.path={model}", f"run.root={root}", *overrides]


def command(model: str, root: Path, *overrides: str, torchrun: bool = False) -> list[str]:
    launcher = TORCHRUN if torchrun else ()
    return [sys.executable, *launcher, str(ROOT / "train.py"), *arguments_of(model, root, *overrides)]


def environment() -> dict[str, str]:
    return ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(PATHS), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def run(
    model: str, root: Path, *overrides: str, launcher: str | None = None, ranks: int | None = None
) -> tuple[subprocess.CompletedProcess[str], Rows]:
    """Return what it printed, and metrics.csv.

    launcher: Lightning or torchrun, started as a user does; None: forks, as many as ranks.
    """
    if launcher is None:
        done = forked.run("train.py", *arguments_of(model, root, *overrides), paths=PATHS, ranks=ranks, timeout=280)
    else:
        typed = command(model, root, *overrides, torchrun=launcher == "torchrun")
        done = subprocess.run(typed, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    with (root / "quickstart" / "metrics.csv").open() as file:
        return done, list(csv.DictReader(file))


VLLM = (
    "run.steps=3",
    "run.validate_every=2",
    "optimizer.lr=1e-3",
    "dynamic_sampling.max_refills=1",
    "overlong.buffer=4",
    "batch.group_size=2",
    "reward._target_=odd_reward.Odd",
)


@pytest.fixture(scope="module")
def alone(qwen2_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The same run on one rank."""
    return run(qwen2_folder, tmp_path_factory.mktemp("alone"), *VLLM)[1]


@pytest.mark.parametrize(
    ("ranks", "launcher"),
    [
        pytest.param((*LIGHTNING,), "Lightning", marks=needs_vllm, id="an engine in each rank"),
        pytest.param(
            (*LIGHTNING, "rollout.engine.tensor_parallel=2"), None, marks=needs_vllm, id="one engine over both"
        ),
        pytest.param(("cluster.cp=2",), "torchrun", marks=needs_vllm, id="torchrun, sequences split"),
    ],
)
def test_two_ranks_train_as_one(
    qwen2_folder: str, tmp_path: Path, alone: Rows, ranks: tuple[str, ...], launcher: str | None
) -> None:
    done, rows = run(qwen2_folder, tmp_path, *VLLM, *ranks, launcher=launcher, ranks=None if launcher else 2)
    assert [int(row["rollout_step"]) for row in rows] == [0, 1, 2, 3]
    assert all(float(row["rollout/log_prob_gap_max"]) < 1e-5 for row in rows[1:])  # after each sync
    for mine, expected in zip(rows, alone, strict=True):
        same = [name for name in expected if name.startswith(("reward/", "rollout/", "val/", "policy/"))]
        for name in same:
            assert mine[name] == expected[name] or abs(float(mine[name]) - float(expected[name])) < 2e-4, name
    assert float(rows[1]["rollout/refilled_groups"]) > 0 < float(rows[1]["rollout/refills"])
    assert done.stdout.count("step 3/3") == 1  # rank 0 alone prints
    assert done.stderr.count("2 ranks = ") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quickstart"]
    assert (tmp_path / "quickstart" / "model" / "model.safetensors").is_file()
    last = {path.name for path in (tmp_path / "quickstart" / "checkpoints" / "step-3").iterdir()}
    assert last == {"__0_0.distcp", "__1_0.distcp", ".metadata", "meta.pt", "checkpoint.json"}


def test_everything_at_once(qwen3_moe_folder: str, tmp_path: Path) -> None:
    """Refills, a KL off the reward, an entropy bonus, offload and checkpointing of a mixture of experts."""
    more = ("dynamic_sampling.max_refills=2", "kl.coefficient=0.01", "kl.placement=reward", "entropy.coefficient=0.01")
    kept = ("sharding.offload=true", "sharding.checkpointing=all", "model.attention=varlen")
    settings = ("rollout=transformers", "run.steps=1", "run.validate_every=null", *more, *kept)
    _, alone = run(qwen3_moe_folder, tmp_path / "alone", *settings)
    _, rows = run(qwen3_moe_folder, tmp_path / "two", *settings, "cluster.cp=2", ranks=2)
    for name in ("reward/mean", "reward/kl_penalty", "policy/loss", "policy/entropy", "policy/grad_norm"):
        assert float(rows[0][name]) == pytest.approx(float(alone[0][name]), rel=1e-3, abs=1e-5), name


@pytest.mark.parametrize(
    ("victim", "stage", "torchrun"),
    [(0, "generate", False), (1, "update", False), (1, "generate", True), (0, "update", True)],
)
def test_a_rank_that_dies_ends_the_run(
    qwen2_folder: str, tmp_path: Path, victim: int, stage: str, torchrun: bool
) -> None:
    log = tmp_path / "stages"
    marked = ("+callbacks.stages._target_=stage_log.StageLog", f"+callbacks.stages.lines={log}")
    settings = ("rollout=transformers", "run.steps=1000", "run.validate_every=null", "sampling.max_tokens=200")
    budget = "batch.max_tokens_per_micro_batch=1024"
    arguments = command(
        qwen2_folder, tmp_path, *settings, budget, *marked, *(() if torchrun else LIGHTNING), torchrun=torchrun
    )
    with (tmp_path / "output").open("w") as output:
        running = subprocess.Popen(arguments, cwd=ROOT, env=environment(), stdout=output, stderr=output)
    try:
        ranks = wait_for(lambda: pids_in(log, stage), 120)
        os.kill(ranks[victim], signal.SIGKILL)
        assert running.wait(timeout=60) != 0
        wait_for(lambda: not any(psutil.pid_exists(pid) for pid in ranks.values()), 60)
    finally:
        running.kill()
    said = (tmp_path / "output").read_text()
    of_the_peer = ("Connection closed by peer", "before reporting an error", "SIGKILL")  # gloo's words, torchrun's
    assert running.returncode == -signal.SIGKILL or any(words in said for words in of_the_peer)


def test_the_error_of_one_rank_is_shown_and_ends_the_run(qwen2_folder: str, tmp_path: Path) -> None:
    broken = ("reward._target_=failing_reward.FailsOnRank1", "rollout=transformers", "run.steps=1000")
    arguments = command(qwen2_folder, tmp_path, *broken, "run.validate_every=null", *LIGHTNING)
    done = subprocess.run(arguments, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "the reward of rank 1 is out of order" in done.stderr


def test_a_wrong_config_is_said_once(qwen2_folder: str, tmp_path: Path) -> None:
    arguments = command(qwen2_folder, tmp_path, "batch.prompts=7", "batch.mini_batch_prompts=7", torchrun=True)
    done = subprocess.run(arguments, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert done.stderr.count("error: batch.prompts=7 cannot be shared by 2 engines") == 1
    assert not list(tmp_path.iterdir())


def pids_in(log: Path, stage: str) -> dict[int, int]:
    """Of both ranks, once the second rollout step has come to `stage`."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.is_file() else []
    last = {int(line[0]): line for line in lines if len(line) == 4}
    there = len(last) == 2 and all(int(line[2]) >= 2 and line[3] == stage for line in last.values())
    return {rank: int(line[1]) for rank, line in last.items()} if there else {}


def wait_for(condition: Callable[[], T], seconds: float) -> T:
    """What `condition` returns once it is true."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.01)
    return found
