"""The folder that a run writes to, and nowhere else."""

import logging
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


def create(root: str, name: str) -> Path:
    """Create ROOT/NAME, or the next free name where a run has left something; raises ValueError if it cannot."""
    root, name = str(root), str(name)  # 2024 is a name too
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise ValueError(f"run.name={name!r} must be one folder name, without / or \\; choose the place by run.root")
    try:
        folder = _next_free(Path(root, name))
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        where = Path(root, name)
        raise ValueError(
            f"run folder {where} cannot be written ({error.strerror}): choose another by run.root"
        ) from error
    return folder


def _next_free(wanted: Path) -> Path:
    folder, number = wanted, 1
    while folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    if number > 1:
        log.info("%s exists and is left as it is; this run is %s", wanted, folder)
    return folder


def remove_if_empty(folder: Path) -> None:
    """Leave nothing behind of a run that never began."""
    if not any(folder.iterdir()):
        folder.rmdir()


def save_config(cfg: DictConfig, folder: Path) -> None:
    """Write the resolved config, with every choice that was made."""
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
