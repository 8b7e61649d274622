"""Train a language model: `python train.py --help` shows how."""

from pathlib import Path

from gmpo.cli.main import run

if __name__ == "__main__":
    run("train", Path(__file__).resolve().parent / "configs")
