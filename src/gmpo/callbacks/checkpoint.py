"""Checkpoints: when a run is saved, and how it resumes."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NoReturn

from lightning import Trainer
from lightning.pytorch.callbacks import Timer

from gmpo.callbacks.checkpoint_writer import AGAIN, CheckpointWriter
from gmpo.callbacks.ordered import OrderedCallback
from gmpo.checkpoint.rng import random_state, set_random_state
from gmpo.metrics.loggers import read_metrics
from gmpo.parallel.collectives import gather, rank, world_size
from gmpo.policy.module import PolicyModule
from gmpo.run.errors import RunError
from gmpo.run.requeue import requeue
from gmpo.run.signals import RESUME, TIME_IS_UP, Interrupted, StopRequest
from gmpo.types import PromptBatch

log = logging.getLogger(__name__)

COMPARED = "rollout/log_prob_gap"  # a step that has it has all metrics of an update
VALIDATION = "val/"  # prefix of validation metrics
LIGHTNING = "Lightning"  # stopped by max_time, or by a callback


class CheckpointCallback(OrderedCallback):
    """Saves the run between rollout steps, at the configured intervals and when a signal asks it to stop.

    A checkpoint holds the state after a step and before its validation, so that saving does not wait for it; a resumed
    run makes up a missing validation.

    Args:
        folder: the run's; checkpoints go to FOLDER/checkpoints/step-N.
        every: rollout steps between checkpoints.
        minutes: a checkpoint is also due when this many have passed since the last one.
        keep: how many of the newest to keep, besides the best.
        best: a metric of metrics.csv; its best checkpoint is kept too, and each validated step is saved.
        asynchronous: continue training while a checkpoint is written.
        failures: this many failed checkpoints in a row end the run.
        grace: as in `StopRequest`.
        requeue: have the scheduler start the job again when it warns of its time limit.
    """

    order = 20  # between two steps, before anything of the next one

    def __init__(
        self,
        folder: str,
        every: int,
        minutes: float | None,
        keep: int,
        best: str | None,
        mode: Literal["max", "min"],
        asynchronous: bool,
        failures: int,
        grace: float,
        requeue: bool,
    ) -> None:
        self.run = Path(folder)
        self.writer = CheckpointWriter(self.run, keep, best, mode, failures)
        self.every = every
        self.minutes = minutes
        self.best = best
        self.asynchronous = asynchronous
        self.stop = StopRequest(grace)
        self.requeue = requeue
        self._best_is_there = False  # among the metrics seen so far
        self._between = 0  # the last completed step
        self._random = random_state()  # that between two steps
        self._resumed = False

    def on_train_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Install the signal handlers in place of Lightning's; restore the checkpoint's random state."""
        self._between = pl_module.state.rollout_step
        self.writer.saved_at = time.monotonic()
        self.stop.install()
        recorded = {name for row in read_metrics(self.run / "metrics.csv") for name in row}
        if any(name.startswith(VALIDATION) for name in recorded):  # the run is resumed
            self._find_best(pl_module, recorded, of_validation=True)
        if self._resumed:
            set_random_state(self._random)
        self._random = random_state()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PolicyModule, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Act between two steps, where the first was not validated."""
        self._act_between(trainer, pl_module)
        self._random = random_state()  # a validation may have drawn random numbers
        self.stop.is_training = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Count the step's prompts as trained on; log the time spent on saving since the last step."""
        trainer.datamodule.complete_step()
        pl_module.log("time/checkpoint", self.writer.take_seconds())

    def on_validation_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Act between two steps, where the first is validated."""
        self._act_between(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Check that the validation logs the metric of the best checkpoint."""
        self._find_best(pl_module, trainer.callback_metrics, of_validation=True)

    def _find_best(self, policy: PolicyModule, names: Iterable[str], of_validation: bool) -> None:
        """Stop the run if its metrics, of a validation or of a step, lack the one that chooses the best checkpoint."""
        if self.best is None or self._best_is_there or self.best.startswith(VALIDATION) != of_validation:
            return
        self._best_is_there = self.best in names
        if not self._best_is_there:
            there = [name for name in sorted(names) if name.startswith(VALIDATION) == of_validation and "/" in name]
            policy.state.stop(
                f"checkpoint.best={self.best} is no metric of this run, so that no checkpoint would be kept as the "
                f"best: choose one of {', '.join(there)}"
            )

    def on_train_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Save and stop if Lightning ended training early, before other callbacks finish the run."""
        if pl_module.state.stop_reason is None and pl_module.state.rollout_step < trainer.datamodule.steps:
            self.writer.settle(trainer, pl_module, wait=True)
            self._stop(trainer, pl_module, [LIGHTNING])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: PolicyModule, checkpoint: dict[str, Any]) -> None:
        """Add the random states of all ranks; drop the counters of Lightning's loops, which follow from the steps."""
        checkpoint["random"] = gather(self._random)
        del checkpoint["loops"]
        for key in [key for key in checkpoint["callbacks"] if key.startswith(Timer.__name__)]:
            del checkpoint["callbacks"][key]  # trainer.max_time is per process: a resumed one would stop at once

    def on_load_checkpoint(self, trainer: Trainer, pl_module: PolicyModule, checkpoint: dict[str, Any]) -> None:
        """Set Lightning's counters to the checkpoint's step; it gets only the batches that are left."""
        steps, updates = pl_module.state.rollout_step, checkpoint["global_step"]
        loop = trainer.fit_loop.epoch_loop
        for progress, count in (
            (loop.batch_progress.total, steps),
            (loop.manual_optimization.optim_step_progress.total, updates),
        ):
            progress.ready = progress.completed = count
        loop.batch_progress.total.started = loop.batch_progress.total.processed = steps
        if len(checkpoint["random"]) == world_size():
            self._random = checkpoint["random"][rank()]
            self._resumed = True

    def on_exception(self, trainer: Trainer, pl_module: PolicyModule, exception: BaseException) -> None:
        """Save the state before the step that failed, if the error ends all ranks."""
        if isinstance(exception, RunError):
            pl_module.state.rollout_step = self._between
            if 0 < self._between < trainer.datamodule.steps:
                self.writer.save_unless_there(trainer, pl_module)
            self.writer.settle(trainer, pl_module, wait=True)

    def on_fit_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Save the final state, after the last validation and the export; without it a run is not finished.

        Engines still run: vLLM takes the ranks' process group down with it.
        """
        if pl_module.state.rollout_step == 0:  # nothing was trained
            return
        if pl_module.state.stop_reason and pl_module.state.rollout_step == trainer.datamodule.steps:
            self.writer.settle(trainer, pl_module, wait=True)  # work remains after the last step
            return
        self._random = random_state()
        self.writer.save_unless_there(trainer, pl_module)
        if self.writer.failed:
            pl_module.state.stop(f"the last checkpoint could not be written: make room in {self.run}, then {AGAIN}")

    def _act_between(self, trainer: Trainer, policy: PolicyModule) -> None:
        """Save or stop if that is due, once between any two steps; collective."""
        step = policy.state.rollout_step
        if step == self._between:
            return
        self._between = step
        self._random = random_state()
        if COMPARED in trainer.callback_metrics:  # all metrics of the step are logged
            self._find_best(policy, trainer.callback_metrics, of_validation=False)
        self.writer.settle(trainer, policy, wait=False)
        stopped = self.stop.signal or (LIGHTNING if trainer.should_stop else None)
        signals, late = zip(*gather((stopped, self._is_late())), strict=True)
        stops = [name for name in signals if name is not None]
        if step == trainer.datamodule.steps:  # what is left is short: see `on_fit_end`
            return
        validated = trainer.validating and self.best is not None
        if stops:
            self._stop(trainer, policy, stops)
        if step % self.every == 0 or validated or late[0]:
            self.writer.save(trainer, policy, self.asynchronous)

    def _stop(self, trainer: Trainer, policy: PolicyModule, stops: list[str]) -> NoReturn:
        """Save, and exit with the code of a run that the same command resumes; collective.

        stops: what asked for it on any rank: names of signals, or LIGHTNING.
        """
        step, steps = policy.state.rollout_step, trainer.datamodule.steps
        if step > 0:
            self._random, self._between = random_state(), step  # perhaps after a validation
            self.writer.save_unless_there(trainer, policy)
        if rank() == 0:
            log.warning("stopped by %s after step %d of %d: the same command resumes the run", stops[0], step, steps)
            if self.requeue and set(stops) <= {number.name for number in TIME_IS_UP}:  # only for want of time
                self._ask_for_requeue()
        self.stop.is_over = True
        gather(None)  # srun ends all ranks once one has ended: by then rank 0 has asked for the requeue
        alone = trainer.strategy.launcher is not None and rank() > 0  # Lightning takes another code for a crash
        raise Interrupted(0 if alone else RESUME)

    def _ask_for_requeue(self) -> None:
        if self.writer.failed:
            log.warning("the job is not requeued: its steps could not be saved, so it would only repeat them")
            return
        self.stop.is_over = True
        requeue()

    def _is_late(self) -> bool:
        return self.minutes is not None and time.monotonic() - self.writer.saved_at > 60 * self.minutes
