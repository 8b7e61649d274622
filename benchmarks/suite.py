"""Run all benchmarks: `python benchmarks/suite.py [--gpu] [--only PART ...]`, or `make bench` and `make bench-gpu`.

Runs each part in a separate process, prints the results beside the goals, and writes results/latest.json (gpu.json;
part.json with --only): ratios by name, and under "raw" what they come from. If a part fails, the others still run,
their results are written, and the exit code is 1. `--show` prints the table of the last run in Markdown.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from report import GOALS, GPU_GOALS, latest, markdown, table
from results import write_whole

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PARTS: dict[str, list[str]] = {  # a script beside this one and its arguments; each takes --json FILE
    "bound_1m": ["bound.py", "--size", "1m"],
    "bound_10m": ["bound.py", "--size", "10m", "--warm-up", "1"],
    "trl_1m": ["against_trl.py", "--size", "1m"],
    "trl_10m": ["against_trl.py", "--size", "10m", "--warm-up", "1", "--steps", "2", "--half", "0"],
    "head": ["head.py"],
    "zero_advantage": ["zero_advantage.py", "cluster.threads=1"],
    "growth": ["growth.py"],
}
LATEST, GPU, PART = "latest.json", "gpu.json", "part.json"  # --only writes the last
GPU_PARTS: dict[str, list[str]] = {"gpu": ["gpu.py"]}
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
PATIENCE = 600  # seconds for a part


def main() -> None:
    """Run the parts, print, write."""
    asked = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    asked.add_argument("--gpu", action="store_true", help="the part for one GPU instead")
    asked.add_argument("--only", nargs="+", metavar="PART", help=f"of {', '.join([*PARTS, *GPU_PARTS])}")
    asked.add_argument("--show", action="store_true", help="the table of the last run in Markdown; nothing is run")
    given = asked.parse_args()
    parts, goals = (GPU_PARTS, GPU_GOALS) if given.gpu else (PARTS, GOALS)
    written = RESULTS / (PART if given.only else GPU if given.gpu else LATEST)
    if given.show:
        print(markdown(json.loads(written.read_text()), goals))
        return
    chosen = {name: parts[name] for name in given.only or parts}
    began = time.perf_counter()
    found, failed = run(chosen, {} if given.gpu else QUIET)
    result = latest(found, failed, machine())
    write_whole(written, result)
    took = time.perf_counter() - began
    print(f"\n{table(result, goals)}\n\n{took:.0f} s, written to benchmarks/results/{written.name}")
    if failed:
        sys.exit(f"error: {', '.join(failed)} failed, see above")


def run(
    parts: Mapping[str, Sequence[str]], environment: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the figures of each part, and the names of those that failed."""
    found: dict[str, dict[str, Any]] = {}
    failed: list[str] = []
    for name, (script, *arguments) in parts.items():
        print(f"\n== {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "part.json")
            command = [sys.executable, str(HERE / script), "--json", str(file), *arguments]
            began = time.perf_counter()
            if _exit_code(command, environment) == 0:
                found[name] = json.loads(file.read_text()) if file.is_file() else {"ratios": {}, "raw": {}}
                found[name]["raw"]["seconds"] = time.perf_counter() - began
            else:
                failed.append(name)
    return found, failed


def _exit_code(command: Sequence[str], environment: Mapping[str, str]) -> int:
    process = subprocess.Popen(command, env=os.environ | environment, start_new_session=True)
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        print(f"not done after {PATIENCE} s", flush=True)
        return 1
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the part and what it started: its process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def machine() -> dict[str, Any]:
    """Return the machine that was measured."""
    return {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "at": time.strftime("%F")}


if __name__ == "__main__":
    main()
