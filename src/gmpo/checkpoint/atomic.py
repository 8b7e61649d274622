"""Files that are whole, or as they were before."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

PART = ".part"  # ends the name of a file that is not whole yet


@contextmanager
def write_atomically(path: Path, to_disk: bool = False) -> Iterator[TextIO]:
    """Open a text file that takes the place of `path` when it is complete; an error leaves `path` as it was.

    to_disk: not only safe from the end of this process, but from that of the machine.
    """
    part = path.with_name(f"{path.name}{PART}")
    with part.open("w", newline="", encoding="utf-8") as file:
        yield file
        if to_disk:
            sync(file)
    part.replace(path)


def sync(file: IO[Any]) -> None:
    """Have the system write a file to disk."""
    file.flush()
    os.fsync(file.fileno())
