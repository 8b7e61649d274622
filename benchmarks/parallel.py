"""Measure what several ranks cost and save: `python benchmarks/parallel.py [FILE.jsonl ...]`.

Measures the quickstart's step on one rank and on two (real vLLM in each; on a machine of two cores one thread each),
padding and balance of micro-batches on the responses of that run and on files as in benchmarks/padding.py, and the
memory of loading a model sharded over four ranks.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from loading import main as loading
from padding import print_cuts, read_lengths
from step_time import ROOT, STAGES, run_steps

from gmpo.batching.balancing import Cost

ALL_GROUPS = "callbacks.rollout_table.groups=64"
RUNS = {
    "1 rank, 1 thread": ("cluster=cpu", "cluster.threads=1", ALL_GROUPS),
    "1 rank, 2 threads": ("cluster=cpu", "cluster.threads=2"),
    "2 ranks, 1 thread each": ("cluster=cpu2",),
}
MINI_BATCH, BUDGET = 128, 8192  # sequences and tokens, the quickstart's


def main() -> None:
    """Measure and print, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        print_step_times(Path(folder))
        responses = Path(folder, "0", "bench", "rollouts", "train.jsonl")
        lengths = read_lengths(responses, "")
    print(f"\nmicro-batches of {len(lengths)} responses of that run, in mini-batches of {MINI_BATCH}")
    print(f"{'ranks':>5} {'cut':<12} {'rounds':>6} {'padding':>8} {'imbalance':>10}  goal: under 5%, at most 1.05")
    for ranks in (2, 16):
        print_cuts(lengths, MINI_BATCH, BUDGET, Cost(), ranks)
    if files := sys.argv[1:]:
        subprocess.run([sys.executable, "benchmarks/padding.py", *files], cwd=ROOT, check=True)
    print()
    loading()


def print_step_times(folder: Path) -> None:
    """Print the median of each stage, and the time of one rank on one thread over the others'."""
    medians: dict[str, dict[str, float]] = {}
    for number, (name, overrides) in enumerate(RUNS.items()):
        steps = run_steps(folder / str(number), *overrides)
        medians[name] = {stage: median(float(step[stage]) for step in steps) for stage in ("time/step", *STAGES)}
    alone = next(iter(medians.values()))["time/step"]
    print(
        f"\n{'seconds a step, median':<24}"
        + "".join(f"{stage.partition('/')[2]:>12}" for stage in ("time/step", *STAGES))
    )
    for name, stages in medians.items():
        print(f"{name:<24}" + "".join(f"{seconds:12.2f}" for seconds in stages.values()))
    for name, stages in list(medians.items())[1:]:
        faster = alone / stages["time/step"]
        print(f"{name}: {faster:.2f} times as fast as one rank on one thread, an efficiency of {faster / 2:.0%}")


if __name__ == "__main__":
    main()
