"""Show where the time of a rollout step goes: `python benchmarks/step_time.py [override ...]`.

Runs a few steps of the quickstart without validation, leaves out the first, and prints the median of each stage.
"""

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = dict(os.environ)  # training in this process leaves a rank and a port in its own, and others wait for them
STEPS = 9
STAGES = ("time/weight_sync", "time/generate", "time/reward", "time/exchange", "time/log_probs", "time/update")


def main() -> None:
    """Run, read metrics.csv, print the table."""
    with tempfile.TemporaryDirectory() as folder:
        steps = run_steps(Path(folder), *sys.argv[1:])
    whole = median(float(step["time/step"]) for step in steps)
    print(f"median of {len(steps)} steps: {whole:.2f} s, {tokens_per_second(steps):.0f} response tokens/s")
    for stage in STAGES:
        seconds = median(float(step[stage]) for step in steps)
        print(f"{stage.removeprefix('time/'):<12} {seconds:6.2f} s {seconds / whole:6.0%}")


def run_steps(folder: Path, *overrides: str, steps: int = STEPS) -> list[dict[str, str]]:
    """Return the rows of metrics.csv of a run in folder/bench, without the first step, which includes warm-up."""
    usual = [f"run.steps={steps}", "run.validate_every=null", "run.name=bench", f"run.root={folder}"]
    subprocess.run(
        [sys.executable, "train.py", "experiment=quickstart", *usual, *overrides], cwd=ROOT, env=ENVIRONMENT, check=True
    )
    with (folder / "bench" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))[1:]


def tokens_per_second(steps: list[dict[str, str]]) -> float:
    """Return the median over steps."""
    return median(float(step["throughput/tokens_per_second"]) for step in steps)


if __name__ == "__main__":
    main()
