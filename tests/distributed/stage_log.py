"""A callback that writes down which stage every rank is in, for tests that end a rank at a chosen moment."""

import os
from pathlib import Path

from lightning import Callback, Trainer

from gmpo.policy.module import PolicyModule


class StageLog(Callback):
    """Appends "RANK PID STEP STAGE" to a file as each stage begins."""

    def __init__(self, lines: str) -> None:
        self.lines = Path(lines)

    def on_fit_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Listen to the clock."""

        def note(stage: str) -> None:
            with self.lines.open("a") as file:
                file.write(f"{trainer.global_rank} {os.getpid()} {pl_module.state.rollout_step} {stage}\n")

        pl_module.state.clock.on_stage.append(note)
