"""Run processes that make rollout steps in turns; the other end of `same_work.Turns`."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from work import environment

Report = dict[str, Any]  # seconds, tokens, and for ours the seconds of each stage
PATIENCE = 300  # seconds for a start or a step
LINES_OF_LOG = 30


class Side:
    """One process; its output is kept in a file, and shown if it fails."""

    def __init__(self, name: str, connection: Connection, log: Path) -> None:
        self.name = name
        self.connection = connection
        self.log = log

    def wait(self) -> Report:
        """Wait until it is ready for its next step; return its report of the last, which is empty before the first."""
        try:
            if self.connection.poll(PATIENCE):
                report: Report = self.connection.recv()
                return report
            reason = f"said nothing for {PATIENCE} s"
        except (EOFError, ConnectionError):
            reason = "ended by itself"
        lines = "\n".join(self.log.read_text(errors="replace").splitlines()[-LINES_OF_LOG:])
        sys.exit(f"{lines}\nerror: {self.name} {reason}; the end of what it printed is above")

    def step(self, what: str) -> Report:
        """Let it make a rollout step."""
        self.connection.send(what)
        return self.wait()


@contextmanager
def started(name: str, command: Sequence[str], folder: Path, threads: int) -> Iterator[Side]:
    """Start a process; --turns names its end of the connection, --folder its own folder."""
    folder.mkdir()
    ours, theirs = socket.socketpair()
    log = folder / "printed.txt"
    with ours, log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--turns", str(theirs.fileno()), "--folder", str(folder)],
            env=environment(threads),
            pass_fds=[theirs.fileno()],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        theirs.close()
        connection = Connection(ours.detach())
        try:
            yield Side(name, connection, log)
            connection.send(None)  # no more
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            connection.close()
