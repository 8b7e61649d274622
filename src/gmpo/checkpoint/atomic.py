"""Atomic writing: a file is complete, or as it was before."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

PART = ".part"  # suffix of an incomplete file


@contextmanager
def write_atomically(path: Path, to_disk: bool = False) -> Iterator[TextIO]:
    """Open a text file that takes the place of `path` when it is complete; an error leaves `path` as it was.

    to_disk: make it survive a crash of the machine, not only of this process.
    """
    part = path.with_name(f"{path.name}{PART}")
    with part.open("w", newline="", encoding="utf-8") as file:
        yield file
        if to_disk:
            sync(file)
    part.replace(path)


def sync(file: IO[Any]) -> None:
    """Flush a file to disk."""
    file.flush()
    os.fsync(file.fileno())
