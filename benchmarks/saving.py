"""Measure what checkpoints cost: `python benchmarks/saving.py [override ...]`.

Runs the quickstart for 22 steps without validation, once with synchronous and once with asynchronous checkpoints, at
the default interval, and prints what saving takes of the time of steps 2 to 21: two checkpoints.
"""

import sys
import tempfile
from pathlib import Path

from step_time import run_steps


def main() -> None:
    """Run, and print both shares."""
    for asynchronous in ("false", "true"):
        with tempfile.TemporaryDirectory() as folder:
            rows = run_steps(Path(folder), f"checkpoint.asynchronous={asynchronous}", *sys.argv[1:], steps=22)[:20]
        saving = [float(row["time/checkpoint"]) for row in rows]
        steps = sum(float(row["time/step"]) for row in rows)
        saved = [seconds for seconds in saving if seconds > 0]
        share = sum(saving) / (sum(saving) + steps)
        print(
            f"asynchronous={asynchronous:<5}  {len(saved)} checkpoints, {sum(saved) / max(len(saved), 1):.3f} s each, "
            f"{share:.2%} of {steps + sum(saving):.0f} s"
        )


if __name__ == "__main__":
    main()
