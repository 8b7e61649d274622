"""What the commands of the project share. Imported first, and without torch."""

import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any, TextIO, cast

from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException

from gmpo.run.launch import Launch
from gmpo.run.log import RUN_LOG
from gmpo.run.secrets import redact
from gmpo.run.signals import LAST_WORDS, RESUME

FIRST_SPEAKS = 5.0  # seconds: a launcher ends all processes of a node as soon as one has failed


def set_up() -> None:
    """Set what libraries read when they are imported; scripts call it first."""
    # torch: no chatter, and threads that wait without spinning where cores are few
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # configs/hydra/launcher/submitit_slurm.yaml is laid over the plugin's own of that name, which has the other keys
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_slurm' is validated against ConfigStore schema")


class BestEffortStream:
    """A stream whose disk may be full, or whose reader may be gone: what it refuses is dropped, and so are secrets.

    recorded: whether what is written stands in the run's log as well.
    """

    def __init__(self, stream: TextIO, recorded: bool = True) -> None:
        self._stream = stream
        self._recorded = recorded

    def unrecorded(self) -> "BestEffortStream":
        """Return the same stream for what is not to be in the run's log."""
        return BestEffortStream(self._stream, recorded=False)

    def write(self, text: str) -> int:
        """As a stream's."""
        text = redact(text)
        if self._recorded:
            RUN_LOG.write(text)
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As a stream's."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Recorded:
    """A stream whose texts stand in the run's log as well, though it leads to one that does not record."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As a stream's."""
        RUN_LOG.write(redact(text))
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def recorded(stream: TextIO) -> TextIO:
    """Return a stream that records what is written to another one."""
    return cast(TextIO, Recorded(stream))


def unrecorded(stream: TextIO) -> TextIO:
    """Return a stream for what is not to be in the run's log."""
    return cast(TextIO, stream.unrecorded()) if isinstance(stream, BestEffortStream) else stream


def tolerate_closed_output() -> None:
    """Let no message that cannot be written end the program, and no message hold a secret; record them for the run."""
    RUN_LOG.begin()
    if not isinstance(sys.stdout, BestEffortStream):  # a second job of one process
        sys.stdout, sys.stderr = BestEffortStream(sys.stdout), BestEffortStream(sys.stderr)
        LAST_WORDS.append(RUN_LOG.write)


@contextmanager
def one_clear_error(started: Launch | None = None) -> Iterator[None]:
    """End the program with the message of a ValueError, without a traceback; HYDRA_FULL_ERROR=1 shows it.

    Of several processes on a node that meet the same error the first says it, and its launcher ends the others.
    """
    try:
        yield
    except (ValueError, InstantiationException, OmegaConfBaseException) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        wrapped = error.__cause__ if isinstance(error, InstantiationException) else None
        if isinstance(wrapped or error, OmegaConfBaseException):  # it adds lines for programmers
            first = next(iter(str(wrapped or error).splitlines()), "")
            wrapped = ValueError(
                f"the config does not hold together: {first}. See what ~KEY left out, or KEY=VALUE broke"
            )
        if started is not None and started.local_rank > 0:
            time.sleep(FIRST_SPEAKS)
            sys.exit(redact(f"error on rank {started.rank}: {wrapped or error}"))  # alive: it was not everyone's
        sys.exit(redact(f"error: {wrapped or error}"))
    except KeyboardInterrupt:
        print("stopped by SIGINT", file=sys.stderr)
        sys.exit(RESUME)


def need_launcher(arguments: Sequence[str]) -> None:
    """End the program, naming the remedy, where a launcher is chosen whose package is not installed."""
    chosen = [argument for argument in arguments if argument.startswith("hydra/launcher=submitit")]
    try:
        found = not chosen or find_spec("hydra_plugins.hydra_submitit_launcher") is not None
    except ModuleNotFoundError:  # not even another plugin
        found = False
    if not found:
        sys.exit(f"error: {chosen[0]} needs the package hydra-submitit-launcher: pip install '.[slurm]'")
