"""RUN/log.txt: everything that a run shows on the screen."""

import shlex
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

NAME = "log.txt"
PATIENCE = 5.0  # seconds
MOST_WAITING = 1_000_000  # characters that are kept until the run has its folder


class RunLog:
    """A copy of what is shown on the screen; kept in memory until the run has a folder.

    A resumed run appends to its log. Text that a full disk refuses is dropped.
    """

    def __init__(self) -> None:
        self._waiting: list[str] | None = None  # None: nothing is recorded
        self._file: TextIO | None = None
        self._lock = threading.RLock()  # reentrant: a signal's handler may write within a write

    def begin(self) -> None:
        """Record from here on, for a run whose folder is not known yet."""
        with self._lock:
            self.close()
            self._waiting = []

    def open(self, folder: Path, command: Sequence[str]) -> None:
        """Append to the log in the run's folder: date and command, what was shown so far, and all that follows."""
        with self._lock, suppress(OSError):
            if self._waiting is None:
                return
            self._file = (folder / NAME).open("a", encoding="utf-8", errors="replace")
            when = time.strftime("%Y-%m-%d %H:%M:%S")
            waiting, self._waiting = self._waiting, None
            self.write(f"--- {when}  {shlex.join(command)}\n{''.join(waiting)}")

    def write(self, text: str) -> None:
        """Record a text, and flush it."""
        if not self._lock.acquire(timeout=PATIENCE):  # a disk that does not answer must not block the process
            return
        try:
            if self._file is not None:
                self._file.write(text)
                self._file.flush()
            elif self._waiting is not None and sum(map(len, self._waiting)) < MOST_WAITING:
                self._waiting.append(text)
        except OSError:
            pass
        finally:
            self._lock.release()

    def close(self) -> None:
        """Record nothing more."""
        with self._lock, suppress(OSError):
            file, self._file, self._waiting = self._file, None, None
            if file is not None:
                file.close()


RUN_LOG = RunLog()  # of this process; only rank 0 opens it
