"""An engine in the trainer's own process, with a watchdog."""

import faulthandler
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from gmpo.rollout.engine import Engine
from gmpo.run.errors import EngineError, RunError
from gmpo.run.signals import RESUME
from gmpo.types import Request, Response


class InProcessEngine:
    """Runs an engine in the trainer's own process, and turns its errors into EngineError.

    An engine that hangs cannot be interrupted: the process prints the stacks of its threads and exits with the code
    that says that the same command resumes the run.
    """

    def __init__(self, engine: Engine, timeout: float) -> None:
        self.engine = engine
        self.timeout = timeout
        self.tensor_parallel = engine.tensor_parallel
        self._alive_at = 0.0

    @property
    def policy_version(self) -> int:
        return self.engine.policy_version

    def start(self) -> None:
        with _as_engine_failure():
            self.engine.start()

    def load_weights(self, weights: Iterable[tuple[str, Tensor]], policy_version: int) -> None:
        rest = iter(weights)
        try:
            with self._watched(), _as_engine_failure():
                self.engine.load_weights(rest, policy_version)
        finally:
            for _ in rest:  # ranks gather the weights together
                pass

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Yield responses; to the watchdog, each is a sign of life."""
        with self._watched(), _as_engine_failure():
            for finished in self.engine.generate(requests):
                self._alive_at = time.monotonic()
                yield finished

    def sleep(self) -> None:
        with _as_engine_failure():
            self.engine.sleep()

    def close(self) -> None:
        with _as_engine_failure():
            self.engine.close()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        done = threading.Event()
        self._alive_at = time.monotonic()
        threading.Thread(target=self._watch, args=(done,), name="watchdog", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def _watch(self, done: threading.Event) -> None:
        while (left := self._alive_at + self.timeout - time.monotonic()) > 0:
            if done.wait(left):
                return
        faulthandler.dump_traceback(all_threads=True)
        said = (
            f"the engine has shown no sign of life for {self.timeout:.0f} s (rollout.timeout); it hangs in the "
            "trainer's process, which ends: the same command resumes the run from the last checkpoint. With "
            "rollout.subprocess=true it would be started again\n"
        )
        os.write(2, said.encode())
        os._exit(RESUME)


@contextmanager
def _as_engine_failure() -> Iterator[None]:
    try:
        yield
    except RunError:
        raise
    except Exception as error:  # whatever it raised, it cannot be used again
        raise EngineError(f"the engine failed: {type(error).__name__}: {error}") from error
