"""What a recipe asks of a cluster, told on a laptop: `python plan.py --help` shows how."""

from pathlib import Path

from gmpo.cli.main import run

if __name__ == "__main__":
    run("plan", Path(__file__).resolve().parent / "configs")
