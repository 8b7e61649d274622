"""Kill runs repeatedly, and compare their results with those of a run that was never killed.

    python benchmarks/faults.py [runs=12] [kills=5] [steps=12] [vllm_runs=2] [vllm_kills=3] [seed=0] [folder=FOLDER]

For each case a small quickstart first runs without a kill. Then `runs` others of the same command are killed (SIGKILL
to every process) `kills` times each at random moments, and started again each time, until they end. A third of the runs
uses two ranks, a third writes its checkpoints asynchronously; the vLLM runs are additional. metrics.csv must then have
the same rows, apart from times, and the response files the same bytes.
"""

from __future__ import annotations

import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUICK = (  # the quickstart, smaller in everything
    "experiment=quickstart",
    "batch.prompts=8",
    "batch.mini_batch_prompts=4",
    "sampling.max_tokens=40",
    "dynamic_sampling.max_refills=1",
    "data.dataset.train_size=100",  # epochs of twelve steps
    "data.dataset.validation_size=16",
    "run.validate_every=3",
    "checkpoint.every=2",
    "cluster.threads=1",
)
TIMES = ("time/", "throughput/tokens_per_second")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
STEP = re.compile(r"^step \d+/", re.MULTILINE)
PATIENCE = 600.0  # seconds that a run may take

Row = dict[str, str]


@dataclass(frozen=True)
class Case:
    """Runs of one command."""

    name: str
    overrides: tuple[str, ...]


@dataclass
class Tally:
    """Results of the runs of a case."""

    runs: int = 0
    kills: int = 0
    resumes: int = 0  # starts that resumed from a checkpoint
    lost: int = 0  # rows that the uninterrupted run has
    twice: int = 0
    different: int = 0
    files: int = 0  # of responses, that differ


def command(case: Case, root: Path, steps: int) -> list[str]:
    """Return the command of a run under `root`."""
    return [sys.executable, str(ROOT / "train.py"), *QUICK, *case.overrides, f"run.steps={steps}", f"run.root={root}"]


def start(case: Case, root: Path, steps: int) -> subprocess.Popen[bytes]:
    """Start a run in a separate session, so that all of its processes can be killed together."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "output").open("a") as output:
        return subprocess.Popen(
            command(case, root, steps),
            env=ENVIRONMENT,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run(case: Case, root: Path, steps: int) -> None:
    """Run to the end, without a kill."""
    if start(case, root, steps).wait(PATIENCE) != 0:
        sys.exit(f"the run without a kill failed: see {root / 'output'}")


def killed_run(case: Case, root: Path, steps: int, kills: int, moments: random.Random, tally: Tally) -> None:
    """Kill a run at random moments and start it again until it ends."""
    output = root / "output"
    for _ in range(kills):
        before = len(output.read_text()) if output.exists() else 0
        process, further = start(case, root, steps), moments.randint(0, 2 * steps // kills)
        while process.poll() is None and not has_come(output, before, further):
            time.sleep(0.02)
        try:
            process.wait(moments.uniform(0, 1.5))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            tally.kills += 1
            process.wait()
        else:
            break  # it ended before
    if not (root / "quickstart" / "finished").exists() and start(case, root, steps).wait(PATIENCE) != 0:
        sys.exit(f"the run that was killed {kills} times failed in the end: see {output}")
    tally.runs += 1
    tally.resumes += output.read_text().count("resuming ")


def has_come(output: Path, before: int, steps: int) -> bool:
    """Return whether a start has made this many rollout steps; None: whether it has printed anything."""
    said = output.read_text()[before:]
    return len(STEP.findall(said)) >= steps if steps else bool(said)


def read(folder: Path) -> list[Row]:
    """Return metrics.csv without what depends on the clock."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if not name.startswith(TIMES)} for row in rows]


def compare(expected: Path, found: Path, tally: Tally) -> None:
    """Count the differences."""
    wanted, rows = ({row["rollout_step"]: row for row in read(folder)} for folder in (expected, found))
    tally.lost += len(wanted.keys() - rows.keys())
    tally.twice += len(read(found)) - len(rows)
    tally.different += sum(rows[step] != row for step, row in wanted.items() if step in rows)
    for name in ("train.jsonl", "validation.jsonl"):
        one, other = ((folder / "rollouts" / name).read_bytes() for folder in (expected, found))
        tally.files += one != other


def campaign(case: Case, folder: Path, runs: int, kills: int, steps: int, seed: int) -> Tally:
    """Make all runs of a case."""
    moments, tally = random.Random(f"{seed}/{case.name}"), Tally()
    run(case, folder / "whole", steps)
    for number in range(runs):
        root = folder / f"killed-{number}"
        killed_run(case, root, steps, kills, moments, tally)
        compare(folder / "whole" / "quickstart", root / "quickstart", tally)
        print(f"{case.name}: run {number + 1} of {runs}, {tally.kills} kills so far", file=sys.stderr, flush=True)
    return tally


def main() -> None:
    """Print the table."""
    settings = {"runs": 12, "kills": 5, "steps": 12, "vllm_runs": 2, "vllm_kills": 3, "seed": 0, "folder": ""}
    for argument in sys.argv[1:]:
        name, _, value = argument.partition("=")
        if name not in settings:
            sys.exit(f"error: {argument} is none of {', '.join(f'{name}=...' for name in settings)}")
        settings[name] = value if name == "folder" else int(value)
    folder = Path(str(settings["folder"]) or tempfile.mkdtemp(prefix="faults-"))
    runs, kills, steps, seed = (int(settings[name]) for name in ("runs", "kills", "steps", "seed"))
    quick = ("rollout=transformers",)
    plan = [
        (Case("1 rank", quick), runs - 2 * (runs // 3), kills),
        (Case("1 rank, written asynchronously", (*quick, "checkpoint.asynchronous=true")), runs // 3, kills),
        (Case("2 ranks", (*quick, "cluster=cpu2")), runs // 3, kills),
        (Case("1 rank, vLLM", ()), int(settings["vllm_runs"]), int(settings["vllm_kills"])),
    ]
    print(f"{date.today()}, `python benchmarks/faults.py {' '.join(sys.argv[1:])}`, {steps} rollout steps a run\n")
    print("| | runs | kills | resumed | rows lost | rows twice | rows different | response files different |")
    print("|---|---|---|---|---|---|---|---|")
    bad = 0
    for number, (case, count, times) in enumerate(plan):
        if count:
            tally = campaign(case, folder / str(number), count, times, steps, seed)
            cells = (tally.runs, tally.kills, tally.resumes, tally.lost, tally.twice, tally.different, tally.files)
            print(f"| {case.name} | {' | '.join(map(str, cells))} |", flush=True)
            bad += tally.lost + tally.twice + tally.different + tally.files
    if bad:
        sys.exit(f"error: {bad} differences; the runs are in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
