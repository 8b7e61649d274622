"""Signals that ask a run to stop, and how a process answers them."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable

RESUME = 75  # exit code: not finished, the same command resumes the run (EX_TEMPFAIL of sysexits.h)
TIME_IS_UP = (signal.SIGUSR1, signal.SIGUSR2)  # a scheduler's warning of its time limit; submitit's is the second
ASKING = (signal.SIGINT, signal.SIGTERM, *TIME_IS_UP)
SHOW_CURSOR = b"\x1b[?25h"
BEFORE_TRAINING = "stopped by {} before the first step: nothing to save, give the same command again"
LAST_WORDS: list[Callable[[str], None]] = []  # called with the last message of a process that ends at once

log = logging.getLogger(__name__)


class Interrupted(SystemExit):
    """Ends the program after everything was saved."""


class StopRequest:
    """Answers signals: the first asks this process to stop when it is safe, the second to stop at once.

    Before `is_training` is set there is nothing to lose, and the first ends the process too. Once `is_over` is set
    everything is saved and logged, and a further one ends the process silently: Slurm sends one to the job that it
    requeues. grace: seconds from the first signal until the process ends by itself.

    Signals are read in a thread of their own, so that a second one works while the main thread waits for other ranks
    or for a kernel.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.is_training = False
        self.is_over = False
        self.signal: str | None = None  # the name of the first

    def install(self) -> None:
        """Install the handlers in place of earlier ones; to be called in the main thread."""
        reading, writing = socket.socketpair()
        for end in (reading, writing):
            end.setblocking(end is reading)
        self._writing = writing  # kept open
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        for number in ASKING:
            signal.signal(number, lambda *_: None)  # the thread is notified all the same
        threading.Thread(target=self._listen, args=(reading,), name="signals", daemon=True).start()

    def _listen(self, reading: socket.socket) -> None:
        ends_at: float | None = None
        while True:
            reading.settimeout(None if ends_at is None else max(ends_at - time.monotonic(), 0.001))
            try:
                numbers = reading.recv(64)
            except TimeoutError:
                if not self.is_over:
                    _leave_at_once(f"not done within {self.grace:.0f} s of {self.signal}")
                ends_at, numbers = None, b""
            for number in numbers:
                if number not in ASKING:
                    continue
                if self.is_over and number in TIME_IS_UP:  # it is being answered
                    continue
                if self.is_over:
                    os._exit(RESUME)
                name = signal.Signals(number).name
                if not self.is_training:
                    _leave(BEFORE_TRAINING.format(name))
                if self.signal is not None:
                    _leave_at_once(name)
                self.signal, ends_at = name, time.monotonic() + self.grace
                log.warning("%s: finishing and saving this step; a second signal stops at once", name)


def leave_to_trainer(numbers: Iterable[signal.Signals] = ASKING) -> None:
    """Ignore signals in a process that the trainer ends itself: terminals and Slurm signal all processes of a run."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _leave_at_once(why: str) -> None:
    _leave(f"stopped at once ({why}): the same command resumes the run from the last checkpoint")


def _leave(message: str) -> None:
    """End this process as it is; what it started ends with it."""
    if sys.stderr.isatty():
        os.write(2, SHOW_CURSOR)
    os.write(2, f"{message}\n".encode())
    for record in LAST_WORDS:
        record(f"{message}\n")
    os._exit(RESUME)


def stop_before_training() -> None:
    """Have SIGINT end the program, which has nothing to save yet, until a `StopRequest` answers it."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # engines that are about to start are ended on the way out
        log.warning(BEFORE_TRAINING.format("SIGINT"))
        raise Interrupted(RESUME)

    signal.set_wakeup_fd(-1)  # set by the job before, if one process makes several
    signal.signal(signal.SIGINT, stop)
