"""The process that checks answers, seen from the trainer."""

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

ATTEMPTS = 2  # of a check whose server died
SERVER = ("-m", "gmpo.rewards.check_server")


@dataclass(slots=True)
class _Check:
    number: int
    answer: str
    gold: str
    attempts: int = 0
    outcome: Future[str] = field(default_factory=Future)

    def line(self) -> bytes:
        return (json.dumps([self.number, self.answer, self.gold]) + "\n").encode()


class Checker:
    """Hands checks to `gmpo.rewards.check_server` and their outcomes back, in a process group of its own.

    A server that dies is started again and gets what it had not answered, once more.
    """

    def __init__(self, processes: int, timeout: float, memory_gib: float) -> None:
        self.arguments = [str(processes), str(timeout), str(memory_gib)]
        self._lock = threading.RLock()
        self._unanswered: dict[int, _Check] = {}
        self._checks = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._ready = threading.Event()
        self._failure: str | None = None  # why no server can be started

    def start(self) -> None:
        """Start the server, if it does not run, without waiting for it."""
        with self._lock:
            if self._server is not None:
                return
            self._ready.clear()
            self._server = subprocess.Popen(
                [sys.executable, *SERVER, *self.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the trainer, which closes this one's input by ending
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            threading.Thread(target=self._listen, args=(self._server,), daemon=True).start()

    def wait_until_ready(self) -> None:
        """Until the server checks; raises RuntimeError if it cannot."""
        self.start()
        self._ready.wait()
        if self._failure is not None:
            raise RuntimeError(self._failure)

    def submit(self, answer: str, gold: str) -> Future[str]:
        """The outcome: right, wrong, timeout, died or unreadable. RuntimeError if no server can be started."""
        with self._lock:
            self._checks += 1
            check = _Check(self._checks, answer, gold)
            self._send(check)
        return check.outcome

    def close(self) -> None:
        """End the server and its workers; what is not answered yet counts as died."""
        with self._lock:
            server, self._server = self._server, None
        if server is None:
            return
        assert server.stdin is not None
        with suppress(BrokenPipeError):
            server.stdin.close()
        try:
            server.wait(timeout=3)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    def _send(self, check: _Check) -> None:
        check.attempts += 1
        self._unanswered[check.number] = check
        self.start()
        assert self._server is not None
        assert self._server.stdin is not None
        with suppress(BrokenPipeError):  # the listener sees the end of the server and sends again
            self._server.stdin.write(check.line())
            self._server.stdin.flush()

    def _listen(self, server: subprocess.Popen[bytes]) -> None:
        """In a thread that ends with the server."""
        assert server.stdout is not None
        was_ready = server.stdout.readline() != b""
        if was_ready:
            self._ready.set()
        for line in server.stdout:
            number, outcome = json.loads(line)
            self._unanswered.pop(number).outcome.set_result(outcome)
        self._take_leave(server, was_ready)

    def _take_leave(self, server: subprocess.Popen[bytes], was_ready: bool) -> None:
        server.wait()
        with self._lock:
            closed = self._server is not server
            if not closed:
                self._server = None
            unanswered, self._unanswered = list(self._unanswered.values()), {}
            if not was_ready and not closed:
                assert server.stderr is not None
                self._failure = f"the process that checks answers cannot start: {server.stderr.read().decode()[-2000:]}"
                self._ready.set()
            for check in unanswered:
                if self._failure is not None:
                    check.outcome.set_exception(RuntimeError(self._failure))
                elif closed or check.attempts == ATTEMPTS:
                    check.outcome.set_result("died")
                else:
                    self._send(check)
