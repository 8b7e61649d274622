"""Callbacks that do to an engine what a machine may do, at chosen moments."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from lightning import Callback, Trainer

from gmpo.callbacks import RolloutCallback
from gmpo.policy.module import PolicyModule
from gmpo.rollout import SubprocessEngine


def engine_of(trainer: Trainer) -> Any:
    """This rank's, in this process or in its own."""
    (rollout,) = [callback for callback in trainer.callbacks if isinstance(callback, RolloutCallback)]
    return rollout.collector.engine.engine


class EngineKiller(Callback):
    """Sends a signal to the engine's process `after` seconds into a stage of a rollout step, `times` times."""

    def __init__(
        self, step: int, times: int = 1, name: str = "SIGKILL", after: float = 0.05, stage: str = "generate"
    ) -> None:
        self.step, self.left, self.signal, self.after, self.stage = step, times, signal.Signals[name], after, stage

    def setup(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        engine = engine_of(trainer)
        assert isinstance(engine, SubprocessEngine)

        def look(stage: str) -> None:
            if stage == self.stage and pl_module.state.rollout_step == self.step and self.left:
                self.left -= 1
                assert engine.pid is not None
                threading.Timer(self.after, os.kill, (engine.pid, self.signal)).start()

        pl_module.state.clock.on_stage.append(look)


class _Once(Callback):
    """Does something within the engine's first generation of a rollout step."""

    def __init__(self, step: int) -> None:
        self.step, self.done = step, False

    def act(self) -> None:
        raise NotImplementedError

    def setup(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        engine = engine_of(trainer).engine
        generate: Callable[..., Any] = engine.generate

        def disturbed(requests: Any) -> Any:
            if pl_module.state.rollout_step == self.step and not self.done:
                self.done = True
                self.act()
            return generate(requests)

        engine.generate = disturbed


class Hangs(_Once):
    """For ever, as far as the run can tell."""

    def act(self) -> None:
        time.sleep(1000)


class Raises(_Once):
    """What an engine may raise."""

    def act(self) -> None:
        raise MemoryError("out of it")
