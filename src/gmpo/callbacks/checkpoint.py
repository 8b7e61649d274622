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
VALIDATION = "val/"  # begins the names of a validation's metrics
LIGHTNING = "Lightning"  # by max_time, or a callback that stops training


class CheckpointCallback(OrderedCallback):
    """Saves the run between rollout steps: as its configured turns come, and when a signal asks it to stop.

    The state after a step is that before its validation, so that nothing waits for it; what a resumed run has not
    validated yet, it does.

    folder: of the run; checkpoints stand in FOLDER/checkpoints/step-N. every: rollout steps. minutes: since the last
    one was saved. keep: the newest, and one more, the `best` by a metric of metrics.csv, with which each validated
    step is saved. asynchronous: training goes on while it is written. failures: so many in a row that cannot be
    written end the run. grace: as in `StopRequest`. requeue: where a scheduler warns of its time limit, have it start
    the job again.
    """

    order = 20  # it acts between two steps, before anything of the next one

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
        self._best_is_there = False  # seen among the metrics
        self._between = 0  # the step that this process is past, and before the next
        self._random = random_state()  # as it was between two steps
        self._resumed = False

    def on_train_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Answer signals, in Lightning's place; go on with the random numbers of the checkpoint."""
        self._between = pl_module.state.rollout_step
        self.writer.saved_at = time.monotonic()
        self.stop.install()
        recorded = {name for row in read_metrics(self.run / "metrics.csv") for name in row}
        if any(name.startswith(VALIDATION) for name in recorded):  # of a run that is resumed
            self._find_best(pl_module, recorded, of_validation=True)
        if self._resumed:
            set_random_state(self._random)
        self._random = random_state()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PolicyModule, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Between two steps, where the first was not validated."""
        self._act_between(trainer, pl_module)
        self._random = random_state()  # a validation may have drawn some
        self.stop.is_training = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Count the step as trained on; report what saving took since the last one."""
        trainer.datamodule.complete_step()
        pl_module.log("time/checkpoint", self.writer.take_seconds())

    def on_validation_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Between two steps, where the first is validated."""
        self._act_between(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """See whether the best checkpoint can be told by what was validated."""
        self._find_best(pl_module, trainer.callback_metrics, of_validation=True)

    def _find_best(self, policy: PolicyModule, names: Iterable[str], of_validation: bool) -> None:
        """End the run where its metrics, of a validation or of a step, lack the one that the best is chosen by."""
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
        """Stop, before anything is done that belongs to a run's end, where Lightning ended training before it."""
        if pl_module.state.stop_reason is None and pl_module.state.rollout_step < trainer.datamodule.steps:
            self.writer.settle(trainer, pl_module, wait=True)
            self._stop(trainer, pl_module, [LIGHTNING])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: PolicyModule, checkpoint: dict[str, Any]) -> None:
        """Add the random numbers of all ranks; what Lightning's loops count follows from the steps."""
        checkpoint["random"] = gather(self._random)
        del checkpoint["loops"]
        for key in [key for key in checkpoint["callbacks"] if key.startswith(Timer.__name__)]:
            del checkpoint["callbacks"][key]  # trainer.max_time is of a process: a resumed one would stop at once

    def on_load_checkpoint(self, trainer: Trainer, pl_module: PolicyModule, checkpoint: dict[str, Any]) -> None:
        """Let Lightning count on from the step; it has as many batches as are left."""
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
        """Save what all ranks have where all of them end: the state before the step that could not be made."""
        if isinstance(exception, RunError):
            pl_module.state.rollout_step = self._between
            if 0 < self._between < trainer.datamodule.steps:
                self.writer.save_unless_there(trainer, pl_module)
            self.writer.settle(trainer, pl_module, wait=True)

    def on_fit_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """After the last validation and the export: what a later run may go on from. A run without it is not finished.

        Engines still stand: vLLM takes the ranks' process group down with it.
        """
        if pl_module.state.rollout_step == 0:  # nothing was trained
            return
        if pl_module.state.stop_reason and pl_module.state.rollout_step == trainer.datamodule.steps:
            self.writer.settle(trainer, pl_module, wait=True)  # something is still to be done after the last step
            return
        self._random = random_state()
        self.writer.save_unless_there(trainer, pl_module)
        if self.writer.failed:
            pl_module.state.stop(f"the last checkpoint could not be written: make room in {self.run}, then {AGAIN}")

    def _act_between(self, trainer: Trainer, policy: PolicyModule) -> None:
        """Once between any two steps, on all ranks together."""
        step = policy.state.rollout_step
        if step == self._between:
            return
        self._between = step
        self._random = random_state()
        if COMPARED in trainer.callback_metrics:  # all metrics of a step are there
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
        """Save, and end the program with the exit code of a run that the same command resumes; on all ranks.

        stops: what asked for it on any rank, names of signals or LIGHTNING.
        """
        step, steps = policy.state.rollout_step, trainer.datamodule.steps
        if step > 0:
            self._random, self._between = random_state(), step  # after a validation, where that has come already
            self.writer.save_unless_there(trainer, policy)
        if rank() == 0:
            log.warning("stopped by %s after step %d of %d: the same command resumes the run", stops[0], step, steps)
            if self.requeue and set(stops) <= {number.name for number in TIME_IS_UP}:  # nobody wants it stopped
                self._ask_for_requeue()
        self.stop.is_over = True
        gather(None)  # srun ends the others when one has ended: rank 0 has asked by then
        alone = trainer.strategy.launcher is not None and rank() > 0  # Lightning takes another code for a crash
        raise Interrupted(0 if alone else RESUME)

    def _ask_for_requeue(self) -> None:
        if self.writer.failed:
            log.warning("the job is not requeued: it would make the same steps again, for they could not be saved")
            return
        self.stop.is_over = True
        requeue()

    def _is_late(self) -> bool:
        return self.minutes is not None and time.monotonic() - self.writer.saved_at > 60 * self.minutes
