"""Evaluate a language model: `python evaluate.py --help` shows how."""

from pathlib import Path

from gmpo.cli.main import run

if __name__ == "__main__":
    run("evaluate", Path(__file__).resolve().parent / "configs")
