"""Code shared by all commands. Imported first; imports no torch."""

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

FIRST_SPEAKS = 5.0  # seconds: a launcher ends all processes of a node as soon as one fails


def set_up() -> None:
    """Set variables that libraries read at import; scripts call this first."""
    # torch: errors only, and threads that wait without spinning where cores are few
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # configs/hydra/launcher/submitit_slurm.yaml overrides the plugin's config of the same name, which has more keys
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_slurm' is validated against ConfigStore schema")


class BestEffortStream:
    """A stream that survives a full disk or a closed pipe: writes that fail are dropped, and secrets are redacted.

    recorded: whether what is written also goes into the run's log.
    """

    def __init__(self, stream: TextIO, recorded: bool = True) -> None:
        self._stream = stream
        self._recorded = recorded

    def unrecorded(self) -> "BestEffortStream":
        """Return the same stream without a copy in the run's log."""
        return BestEffortStream(self._stream, recorded=False)

    def write(self, text: str) -> int:
        """Write a text if the stream takes it."""
        text = redact(text)
        if self._recorded:
            RUN_LOG.write(text)
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if the stream can."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Recorded:
    """A stream that also writes into the run's log, around one that does not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text to both."""
        RUN_LOG.write(redact(text))
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def recorded(stream: TextIO) -> TextIO:
    """Return a stream that also records its texts in the run's log."""
    return cast(TextIO, Recorded(stream))


def unrecorded(stream: TextIO) -> TextIO:
    """Return a stream without a copy in the run's log."""
    return cast(TextIO, stream.unrecorded()) if isinstance(stream, BestEffortStream) else stream


def tolerate_closed_output() -> None:
    """Make standard output and error survive failed writes, redact secrets, and copy messages to the run's log."""
    RUN_LOG.begin()
    if not isinstance(sys.stdout, BestEffortStream):  # a second job of one process
        sys.stdout, sys.stderr = BestEffortStream(sys.stdout), BestEffortStream(sys.stderr)
        LAST_WORDS.append(RUN_LOG.write)


@contextmanager
def one_clear_error(started: Launch | None = None) -> Iterator[None]:
    """Exit with the message of a ValueError and no traceback; HYDRA_FULL_ERROR=1 shows the traceback.

    Where several processes of a node meet the same error, the first reports it and the launcher ends the others.
    """
    try:
        yield
    except (ValueError, InstantiationException, OmegaConfBaseException) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        wrapped = error.__cause__ if isinstance(error, InstantiationException) else None
        if isinstance(wrapped or error, OmegaConfBaseException):  # its further lines are for programmers
            first = next(iter(str(wrapped or error).splitlines()), "")
            wrapped = ValueError(f"the config is inconsistent: {first}. See what ~KEY left out, or KEY=VALUE broke")
        if started is not None and started.local_rank > 0:
            time.sleep(FIRST_SPEAKS)  # a process that is alive after this met an error of its own
            sys.exit(redact(f"error on rank {started.rank}: {wrapped or error}"))
        sys.exit(redact(f"error: {wrapped or error}"))
    except KeyboardInterrupt:
        print("stopped by SIGINT", file=sys.stderr)
        sys.exit(RESUME)


def need_launcher(arguments: Sequence[str]) -> None:
    """Exit, naming the remedy, where the package of the chosen launcher is not installed."""
    chosen = [argument for argument in arguments if argument.startswith("hydra/launcher=submitit")]
    try:
        found = not chosen or find_spec("hydra_plugins.hydra_submitit_launcher") is not None
    except ModuleNotFoundError:  # not even another plugin
        found = False
    if not found:
        sys.exit(f"error: {chosen[0]} needs the package hydra-submitit-launcher: pip install '.[slurm]'")
