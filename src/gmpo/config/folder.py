"""The folder of the configs."""

from pathlib import Path

BESIDE_THE_CODE = Path(__file__).resolve().parents[3] / "configs"


def configs_folder() -> Path:
    """Return configs/ of the current folder if it has one, else the checkout's."""
    here = Path.cwd() / "configs"
    return here if (here / "train.yaml").is_file() else BESIDE_THE_CODE
