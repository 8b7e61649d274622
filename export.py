"""Write a trained policy in the Hugging Face format: `python export.py --help` shows how."""

from pathlib import Path

from gmpo.cli.main import run

if __name__ == "__main__":
    run("export", Path(__file__).resolve().parent / "configs")
