"""Traces of a few rollout steps, operation by operation."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from torch.profiler import ProfilerActivity, profile, record_function

from gmpo.callbacks.ordered import OrderedCallback
from gmpo.compat import ProfilerSettings
from gmpo.parallel.collectives import rank
from gmpo.policy.module import PolicyModule
from gmpo.types import PromptBatch

log = logging.getLogger(__name__)

STEPS = 3
ENGINE_TOKENS = 512  # of a response; an engine records some thousand operations for each


class ProfileCallback(OrderedCallback):
    """Records three rollout steps: FOLDER/steps-A-B-rank-R.json for ui.perfetto.dev.

    These are the second to fourth of this process: the first is not typical. If training ends sooner, the trace so far
    is written. Stages of the clock and rollout steps are ranges of the trace. It is written between two steps, and
    does not cover checkpoints saved there.

    enabled: false records nothing. max_tokens: of a response; above 512, an engine in this process (subprocess false)
    is one range of the trace, without its operations, which would be millions.
    """

    order = 10  # between two steps, its range ends before anything else is done

    def __init__(self, enabled: bool, folder: str, max_tokens: int, subprocess: bool) -> None:
        self.enabled = enabled
        self.folder = Path(folder)
        self.with_engine = subprocess or max_tokens <= ENGINE_TOKENS
        self.activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            self.activities.append(ProfilerActivity.CUDA)
        self._steps = range(0)  # to record
        self._profile: profile | None = None  # while it records
        self._step = ExitStack()  # the range of the current one

    def on_train_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Choose the steps to record."""
        last = trainer.datamodule.steps
        first = min(pl_module.state.rollout_step + 2, last)
        if self.enabled:
            self._steps = range(first, min(first + STEPS, last + 1))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PolicyModule, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Begin the range of a step, if it is to be recorded."""
        self._end_step(pl_module)
        if pl_module.state.rollout_step + 1 in self._steps and not pl_module.state.stop_reason:
            if self._profile is None:
                self._start(pl_module)
            self._step.enter_context(record_function("rollout step"))

    def on_validation_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """End the step before its validation."""
        self._end_step(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Write the trace so far."""
        self._write(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: PolicyModule, exception: BaseException) -> None:
        """Write the trace so far."""
        self._write(pl_module)

    def _start(self, policy: PolicyModule) -> None:
        # generation may run in its own thread; torch cannot both pause recording and record all threads
        threads = ProfilerSettings(profile_all_threads=self.with_engine)
        self._profile = profile(activities=self.activities, experimental_config=threads)
        self._profile.start()
        policy.state.clock.mark = self._mark

    def _mark(self, stage: str) -> AbstractContextManager[Any]:
        without = stage == "generate" and not self.with_engine
        return self._without_operations(stage) if without else record_function(stage)

    @contextmanager
    def _without_operations(self, stage: str) -> Iterator[None]:
        assert self._profile is not None
        with record_function(stage):
            self._profile.toggle_collection_dynamic(False, self.activities)
            try:
                yield
            finally:
                self._profile.toggle_collection_dynamic(True, self.activities)

    def _end_step(self, policy: PolicyModule) -> None:
        """End the step's range, which includes what other callbacks did at its end."""
        self._step.close()
        if self._profile is not None and policy.state.rollout_step >= self._steps[-1]:
            self._write(policy)

    def _write(self, policy: PolicyModule) -> None:
        if self._profile is None:
            return
        recorded, self._profile = self._profile, None
        policy.state.clock.mark = nullcontext
        self._step.close()
        recorded.stop()
        trace = self.folder / f"steps-{self._steps[0]}-{policy.state.rollout_step}-rank-{rank()}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            recorded.export_chrome_trace(str(trace))
        except OSError as error:
            log.error("%s could not be written (%s)", trace, error.strerror)
        else:
            log.info("open %s in ui.perfetto.dev", trace)
