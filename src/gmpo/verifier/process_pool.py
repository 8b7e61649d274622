"""A pool of worker processes that are killed when a task takes too much time or memory."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from pebble import ProcessPool

from gmpo.run.launch import end_with_parent
from gmpo.run.signals import TIME_IS_UP, leave_to_trainer


def start_pool(
    processes: int,
    memory: int,
    method: Literal["fork", "spawn"],
    prepare: Callable[..., None] | None = None,
    *args: Any,
) -> ProcessPool:
    """Start processes, each with `memory` bytes beyond its use after `prepare`; wait until the first is ready.

    prepare: called with `args` in each process before anything else.
    """
    pool = ProcessPool(processes, context=get_context(method), initializer=_begin, initargs=(memory, prepare, args))
    pool.schedule(_ready).result()  # so that starting does not count towards a task's time
    return pool


def silence() -> None:
    """Discard output: parsers print what they do not understand, into the outcomes or a pipe that nobody reads."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _begin(memory: int, prepare: Callable[..., None] | None, args: tuple[Any, ...]) -> None:
    """Limit the memory, let signals end the process at any time, silence it, and prepare it."""
    if prepare is not None:
        prepare(*args)
    silence()
    leave_to_trainer(TIME_IS_UP)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    if sys.platform == "linux":
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + memory, in_use + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _ready() -> None:
    """Do nothing, in a process that has been prepared."""
