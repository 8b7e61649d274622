"""Where the configs are."""

from pathlib import Path

BESIDE_THE_CODE = Path(__file__).resolve().parents[3] / "configs"


def configs_folder() -> Path:
    """Return configs/ of the folder that a command is started in, else the one beside the checkout."""
    here = Path.cwd() / "configs"
    return here if (here / "train.yaml").is_file() else BESIDE_THE_CODE
