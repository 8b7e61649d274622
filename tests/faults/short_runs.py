"""Short runs of `train.py` in real processes that begin quickly, and what they leave."""

import csv
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import forked
from conftest import ROOT

PATHS = [str(ROOT / folder) for folder in ("src", "tests/faults", "tests/smoke")]
SHORT = (
    "experiment=quickstart",
    "rollout=transformers",
    "model=local",
    "~reward.marker",
    "reward._target_=rewards_for_faults.EarlyDigitOrLuck",
    "dynamic_sampling.max_refills=1",
    "batch.prompts=4",
    "batch.group_size=4",
    "batch.mini_batch_prompts=2",
    "sampling.max_tokens=12",
    "data.dataset.train_size=11",  # epochs end within steps, and between them
    "data.dataset.validation_size=4",
    "run.steps=6",
    "run.validate_every=2",
    "checkpoint.every=2",
    "cluster.threads=1",
    "policy.old_log_probs=trainer",  # as the recipes
    "optimizer.lr=1e-2",
)
Rows = list[dict[str, str]]


class Started:
    """A run in a session of its own."""

    def __init__(self, process: BaseProcess, log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def said(self) -> str:
        return self.log.read_text() if self.log.is_file() else ""

    def wait(self, seconds: float = 120) -> int:
        """Its exit code; minus the number of a signal that killed it."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"it goes on:\n{self.said()[-3000:]}"
        return self.process.exitcode

    def wait_for(self, text: str, seconds: float = 60) -> None:
        wait_for(lambda: text in self.said() or self.process.exitcode is not None, seconds)
        assert text in self.said(), self.said()[-3000:]


def start(model: str, root: Path, *overrides: str, umask: int = 0o022) -> Started:
    """Start `python train.py` on a small model."""
    root.mkdir(exist_ok=True)
    beside = root.parent if root.is_mount() else root  # its messages are not to meet a full disk, too
    log = beside / f"output-{len(list(beside.glob('output-*')))}"
    command = ["train.py", *SHORT, f"model.path={model}", f"run.root={root}", *overrides]
    return Started(forked.start(command, log, paths=PATHS, umask=umask), log)


def run(model: str, root: Path, *overrides: str) -> Path:
    """To its end; returns the folder."""
    started = start(model, root, *overrides)
    assert started.wait() == 0, started.said()[-3000:]
    return root / "quickstart"


def rows(folder: Path) -> Rows:
    """metrics.csv without what depends on the clock."""
    with (folder / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    timed = ("time/", "throughput/tokens_per_second")
    return [{name: value for name, value in row.items() if not name.startswith(timed)} for row in found]


def responses(folder: Path) -> dict[str, bytes]:
    """The files of responses."""
    return {path.name: path.read_bytes() for path in (folder / "rollouts").iterdir()}


def steps_saved(folder: Path) -> list[int]:
    """Of the checkpoints; nothing else lies beside them."""
    return sorted(int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").iterdir())


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.01)
