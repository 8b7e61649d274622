"""The trainer's client of the process that checks answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

ATTEMPTS = 2  # of a check whose server died
SERVER = ("-m", "gmpo.verifier.server")
READY = b"ready\n"


@dataclass(slots=True)
class _Check:
    number: int
    answer: str
    gold: str
    attempts: int = 0
    outcome: Future[str] = field(default_factory=Future)

    def line(self) -> bytes:
        return (json.dumps([self.number, self.answer, self.gold]) + "\n").encode()


@dataclass(slots=True)
class _Server:
    process: subprocess.Popen[bytes]
    unanswered: dict[int, _Check] = field(default_factory=dict)
    ready: threading.Event = field(default_factory=threading.Event)
    failure: str | None = None  # why it could not start


class Checker:
    """A client that sends checks to `gmpo.verifier.server`, a process group of its own, and returns their outcomes.

    A server that dies is restarted, and unanswered checks are sent once more.
    worked_out: report right answers that are not worked out as an outcome of their own.
    """

    def __init__(self, processes: int, timeout: float, memory_gib: float, worked_out: bool) -> None:
        self.arguments = [str(processes), str(timeout), str(memory_gib), *(["worked_out"] if worked_out else [])]
        self._lock = threading.RLock()
        self._numbers = count(1)
        self._server: _Server | None = None
        self._owner = os.getpid()  # a forked copy of this object must not touch the server

    def start(self) -> None:
        """Start the server if it is not running, without waiting for it."""
        self._running()

    def wait_until_ready(self) -> None:
        """Wait until the server can check answers; raise RuntimeError if it cannot start."""
        server = self._running()
        server.ready.wait()
        if server.failure is not None:
            raise RuntimeError(server.failure)

    def submit(self, answer: str, gold: str) -> Future[str]:
        """Return the outcome: right, not worked out, wrong, timeout, died or unreadable.

        Raises RuntimeError if no server can be started.
        """
        check = _Check(next(self._numbers), answer, gold)
        with self._lock:
            self._send(check)
        return check.outcome

    def close(self) -> None:
        """End the server and its workers; unanswered checks count as died."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            server, self._server = self._server, None
        if server is None:
            return
        process = server.process
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _running(self) -> _Server:
        with self._lock:
            if self._server is None:
                process = subprocess.Popen(
                    [sys.executable, *SERVER, *self.arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for the trainer, whose exit closes the server's input
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )
                self._server = _Server(process)
                threading.Thread(target=self._listen, args=(self._server,), daemon=True).start()
            return self._server

    def _send(self, check: _Check) -> None:
        server = self._running()
        check.attempts += 1
        server.unanswered[check.number] = check
        assert server.process.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # it has ended: the listener notices and sends again
            server.process.stdin.write(check.line())
            server.process.stdin.flush()

    def _listen(self, server: _Server) -> None:
        """Read outcomes in a thread that ends with the server."""
        output, errors = server.process.stdout, server.process.stderr
        assert output is not None
        assert errors is not None
        try:
            if output.readline() == READY:
                server.ready.set()
                for line in output:
                    number, outcome = json.loads(line)
                    server.unanswered.pop(number).outcome.set_result(outcome)
            else:
                server.failure = f"the process that checks answers cannot start: {errors.read().decode()[-2000:]}"
        finally:
            self._take_leave(server)

    def _take_leave(self, server: _Server) -> None:
        server.process.kill()
        server.process.wait()
        with self._lock:
            closed = self._server is not server
            if not closed:
                self._server = None
            for check in list(server.unanswered.values()):
                if closed or (check.attempts == ATTEMPTS and server.failure is None):
                    check.outcome.set_result("died")
                elif server.failure is not None:
                    check.outcome.set_exception(RuntimeError(server.failure))
                else:
                    self._send(check)
        server.ready.set()
