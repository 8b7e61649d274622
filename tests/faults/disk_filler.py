"""A callback that takes all the room of a disk, and gives it back."""

import os
from pathlib import Path

from lightning import Callback, Trainer

from gmpo.policy.module import PolicyModule


class FillsTheDisk(Callback):
    """From the generation of step `begin` on until that of step `until`."""

    def __init__(self, disk: str, begin: int = 3, until: int = 5) -> None:
        self.file = Path(disk, "filler")
        self.begin, self.until = begin, until

    def setup(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        pl_module.state.clock.on_stage.append(
            lambda stage: self._act(pl_module.state.rollout_step) if stage == "update" else None
        )

    def _act(self, step: int) -> None:
        if step == self.begin and not self.file.exists():
            room = os.statvfs(self.file.parent)
            self.file.write_bytes(bytes(room.f_bavail * room.f_frsize))
        elif step == self.until:
            self.file.unlink(missing_ok=True)
