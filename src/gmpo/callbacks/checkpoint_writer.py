"""Writing of checkpoints: on all ranks, whole or not at all, optionally while training continues."""

import logging
import math
import shutil
import time
from pathlib import Path
from typing import Literal

from lightning import Trainer
from torch.distributed.checkpoint.api import CheckpointException

from gmpo.checkpoint import folder as checkpoints
from gmpo.checkpoint import storage
from gmpo.checkpoint.folder import Manifest
from gmpo.metrics.loggers import MetricsCSV, read_metrics
from gmpo.parallel.collectives import gather, rank, world_size
from gmpo.parallel.strategy import MeshStrategy
from gmpo.policy.module import PolicyModule

log = logging.getLogger(__name__)

AGAIN = "give the same command again"


class CheckpointWriter:
    """Writes checkpoints of a run to RUN/checkpoints/step-N and removes old ones. Its methods are collective.

    keep, best, mode, failures: as in `CheckpointCallback`.
    """

    def __init__(self, run: Path, keep: int, best: str | None, mode: Literal["max", "min"], failures: int) -> None:
        self.run = run
        self.folder = run / "checkpoints"
        self.keep = keep
        self.best = best
        self.sign = 1 if mode == "max" else -1
        self.most_failures = failures
        self.failed = 0  # in a row
        self.saved_at = time.monotonic()
        self._writing: int | None = None  # the step of the checkpoint that is being written
        self._seconds = 0.0

    def take_seconds(self) -> float:
        """Return the seconds spent on saving since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def save_unless_there(self, trainer: Trainer, policy: PolicyModule) -> None:
        """Save the current step and wait; do nothing if its checkpoint exists."""
        self.settle(trainer, policy, wait=True)
        if not gather(policy.state.rollout_step in checkpoints.steps_in(self.folder))[0]:
            self.save(trainer, policy, asynchronous=False)

    def save(self, trainer: Trainer, policy: PolicyModule, asynchronous: bool) -> None:
        """Write the shards of all ranks to a temporary folder, which `settle` makes the checkpoint."""
        began = time.perf_counter()
        self.settle(trainer, policy, wait=True)
        self._writing = policy.state.rollout_step
        self.saved_at = time.monotonic()
        if rank() == 0:
            checkpoints.remove_unfinished(self.folder)
        try:
            trainer.save_checkpoint(self._unfinished, storage_options=asynchronous)
        except CheckpointException as error:  # on all ranks
            self._end_writing(policy, _reason(error))
        else:
            if not asynchronous:
                self.settle(trainer, policy, wait=True)
        self._seconds += time.perf_counter() - began

    @property
    def _unfinished(self) -> Path:
        assert self._writing is not None
        return checkpoints.unfinished_of(self.folder, self._writing)

    def settle(self, trainer: Trainer, policy: PolicyModule, wait: bool) -> None:
        """Finish the checkpoint if its shards are written; otherwise wait, or leave it to a later call."""
        if self._writing is None:
            return
        strategy = trainer.strategy
        assert isinstance(strategy, MeshStrategy)
        saving = strategy.saving
        assert saving is not None
        if not wait and not all(gather(saving.done())):
            return
        error = saving.future.exception() if saving.future is not None else None
        fault = None if error is None else _reason(error)
        if fault is None:
            fault = gather(self._publish(trainer, saving.meta) if rank() == 0 else None)[0]
        strategy.saving = None
        self._end_writing(policy, fault)

    def _publish(self, trainer: Trainer, meta: storage.State) -> str | None:
        """Complete and rename the checkpoint, on rank 0; return the error if that fails."""
        assert self._writing is not None
        try:
            for logger in trainer.loggers:
                if isinstance(logger, MetricsCSV):
                    logger.write()  # retry what a full disk refused: the rows must precede the checkpoint
            checkpoints.sync_files([self.run / "metrics.csv", *self.run.glob("rollouts/*.jsonl")])
            checkpoints.sync_folder(self.run)
            storage.complete(self._unfinished, meta, Manifest(self._writing, world_size(), checkpoints.versions()))
            checkpoints.publish(self._unfinished, checkpoints.folder_of(self.folder, self._writing))
        except Exception as error:  # noqa: BLE001  (whatever it is: the other ranks wait for the answer)
            return f"{type(error).__name__}: {error}"
        try:
            scores = self._scores()
            if self.best is None or scores:  # otherwise the best is not known yet
                checkpoints.prune(self.folder, self.keep, scores)
        except (OSError, ValueError) as error:
            log.error("older checkpoints in %s could not be removed: %s", self.folder, error)
        return None

    def _end_writing(self, policy: PolicyModule, fault: str | None) -> None:
        step, self._writing = self._writing, None
        if fault is None:
            self.failed = 0
            return
        self.failed += 1
        if rank() == 0:
            checkpoints.remove_unfinished(self.folder)
            newest = max(checkpoints.steps_in(self.folder), default=None)
            there = "there is none" if newest is None else f"the newest is that of step {newest}"
            free = shutil.disk_usage(self.run).free / 2**20
            log.error(
                "the checkpoint of step %d could not be written (%s; %.1f MiB are free there): %s",
                *(step, fault, free, there),
            )
        if self.failed >= self.most_failures:
            policy.state.stop(
                f"{self.failed} checkpoints in a row could not be written (the last one: {fault}): make room in "
                f"{self.run}, then {AGAIN}"
            )

    def _scores(self) -> dict[int, float]:
        """Return the `best` metric of each step that has it, with its sign set so that the greatest is the best."""
        if self.best is None:
            return {}
        rows = [row for row in read_metrics(self.run / "metrics.csv") if self.best in row]
        values = {int(row["rollout_step"]): float(row[self.best]) for row in rows}
        return {step: self.sign * value for step, value in values.items() if math.isfinite(value)}


def _reason(error: BaseException) -> str:
    """Return the causes that torch reports for a failure."""
    if isinstance(error, CheckpointException):
        return "; ".join(sorted({str(cause) for cause, _ in error.failures.values()}))
    return str(error)
