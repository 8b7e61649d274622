"""Print the memory, time and batches that a recipe needs on a cluster: `python plan.py --help` shows how."""

from pathlib import Path

from gmpo.cli.main import run

if __name__ == "__main__":
    run("plan", Path(__file__).resolve().parent / "configs")
