"""The folder that a run writes to, and nowhere else."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gmpo.checkpoint.atomic import PART, write_atomically
from gmpo.run.secrets import redact

log = logging.getLogger(__name__)

CONFIG, FINISHED, LOCK, OVERRIDES = "config.yaml", "finished", ".lock", "overrides.yaml"
BEFORE_CONFIG = {
    LOCK,
    OVERRIDES,
    f"{OVERRIDES}{PART}",
    f"{CONFIG}{PART}",
}  # files of a run that has not begun
LOCK_PATIENCE = 30.0  # seconds to wait for a process that is just ending

_locks: dict[Path, int] = {}  # open files: the system frees a lock when its process ends, however that happens


def create(root: str, name: str) -> Path:
    """Create ROOT/NAME, or the next name without files of a run; raise ValueError if that fails."""
    with one_place(root, name):
        for folder in candidates(root, name):
            if is_free(folder):
                claim(folder)
                if is_free(folder):  # still, after waiting for another process
                    return folder
                leave(folder)
    raise AssertionError("there is always a next name")


@contextmanager
def one_place(root: str, name: str) -> Iterator[None]:
    """Turn the system's errors with folders of this name into ValueError."""
    try:
        yield
    except OSError as error:
        where = Path(str(root), str(name))
        raise ValueError(
            f"run folder {where} cannot be written ({error.strerror}): choose another by run.root"
        ) from error


def candidates(root: str, name: str) -> Iterator[Path]:
    """Yield ROOT/NAME, ROOT/NAME-2, ...; raise ValueError if the name cannot be a folder's."""
    root, name = str(root), str(name)  # 2024 is a name too
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise ValueError(f"run.name={name!r} must be one folder name, without / or \\; choose the place by run.root")
    yield Path(root, name)
    number = 2
    while True:
        yield Path(root, f"{name}-{number}")
        number += 1


def is_free(folder: Path) -> bool:
    """Return whether no run has left files there."""
    return not folder.exists() or (folder.is_dir() and {path.name for path in folder.iterdir()} <= BEFORE_CONFIG)


def is_run(folder: Path) -> bool:
    """Return whether a run has written there."""
    return (folder / CONFIG).is_file()


def claim(folder: Path) -> Path:
    """Create a folder if needed, and lock it against other processes as long as this one lives.

    Raises ValueError if another process keeps it locked for LOCK_PATIENCE seconds.
    """
    until, said = time.monotonic() + LOCK_PATIENCE, False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(lock, 100, 0).decode() or "another process"
            os.close(lock)
            if time.monotonic() > until:
                raise ValueError(
                    f"{folder} is being written to by {owner}: wait until it ends, or choose another run.name"
                ) from error
            if not said:
                log.warning("%s is being written to by %s; waiting for it to end", folder, owner)
            said = True
            time.sleep(0.5)
        else:
            if (folder / LOCK).exists() and os.fstat(lock).st_ino == (folder / LOCK).stat().st_ino:
                break
            os.close(lock)  # its owner has removed it meanwhile
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
    _locks[folder] = lock
    return folder


def leave(folder: Path) -> None:
    """Unlock a folder; remove it if its run never began."""
    if folder not in _locks:
        return
    if is_free(folder):
        for name in BEFORE_CONFIG:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    os.close(_locks.pop(folder))


def is_finished(folder: Path) -> bool:
    """Return whether the run there is finished."""
    return (folder / FINISHED).is_file()


def mark_finished(folder: Path, step: int) -> None:
    """Mark a run as finished: the same command then starts a new one."""
    with write_atomically(folder / FINISHED) as file:
        file.write(f"after rollout step {step}\n")


def finished_after(folder: Path) -> int | None:
    """Return the last rollout step of a finished run, None for any other."""
    words = (folder / FINISHED).read_text().split() if is_finished(folder) else []
    return int(words[-1]) if words and words[-1].isdigit() else None


def save_config(cfg: DictConfig, folder: Path, typed: Sequence[str] = ()) -> None:
    """Write the resolved config, with every choice made, and the overrides as typed.

    In a resumed run both are those of the newest command. Secrets of the environment are left out.
    """
    resolved = _without_secrets(OmegaConf.to_container(cfg, resolve=True))
    try:
        for name, content in ((OVERRIDES, _without_secrets(list(typed))), (CONFIG, resolved)):
            with write_atomically(folder / name, to_disk=True) as file:
                file.write(OmegaConf.to_yaml(OmegaConf.create(content)))
    except OSError as error:
        raise ValueError(
            f"{folder / CONFIG} cannot be written ({error.strerror}): make room, then try again"
        ) from error


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_secrets(entry) for entry in value]
    return redact(value) if isinstance(value, str) else value
