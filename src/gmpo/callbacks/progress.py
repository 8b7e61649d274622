"""Progress of a run on the console."""

import sys
import threading
import time
from collections import Counter

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gmpo.callbacks.ordered import OrderedCallback
from gmpo.callbacks.response_count import ResponseCount
from gmpo.callbacks.rollout import RolloutCallback
from gmpo.cli.command import recorded, unrecorded
from gmpo.policy.module import PolicyModule
from gmpo.run.log import RUN_LOG
from gmpo.types import PromptBatch

STAGES = {
    "weight_sync": "sync",
    "generate": "generate",
    "reward": "score",
    "exchange": "exchange",
    "log_probs": "update",
    "update": "update",
}


class ProgressCallback(OrderedCallback):
    """A progress bar with stage, reward and response length; in a file or a pipe, a line for each step.

    During generation the number of finished responses is shown, in the bar or in a line every `every` seconds.
    """

    order = 90

    def __init__(self, validation_samples: int, every: float = 30.0) -> None:
        self.validation_samples = validation_samples
        self.every = every
        self.console = Console()
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self._responses: ResponseCount | None = None  # while they are generated
        self._spoken = 0.0  # when the last line about them was printed
        self._ended = threading.Event()

    def setup(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        """Show the bar, or start the thread that prints lines."""
        if not trainer.is_global_zero:
            return

        def count(finished: int, asked: int) -> None:
            self._count(trainer, pl_module, finished, asked)

        def enter(stage: str) -> None:
            self._enter(trainer, pl_module, stage)

        pl_module.state.clock.on_stage.append(enter)
        pl_module.state.clock.on_responses.append(count)
        if self.console.is_terminal:
            self._start_bar()
        else:
            threading.Thread(target=self._speak, name="progress", daemon=True).start()

    def _start_bar(self) -> None:
        self.console = Console(file=unrecorded(sys.stdout))  # redraws stay out of the run's log
        self.bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[stage]:<12}"),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.task = self.bar.add_task("train", total=None, stage="load", facts="")
        self.bar.start()
        sys.stdout, sys.stderr = recorded(sys.stdout), recorded(sys.stderr)  # the bar has replaced both

    def on_train_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Set the bar to the steps made so far."""
        if self.bar is not None:
            self.bar.update(self.task, total=trainer.datamodule.steps, completed=pl_module.state.rollout_step)

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Advance the bar, or print the step's line."""
        seen = trainer.callback_metrics
        facts = f"reward {seen['reward/mean']:.3f}  length {seen['rollout/response_length']:.1f}"
        if "rollout/refilled_groups" in seen:
            facts += f"  refilled {seen['rollout/refilled_groups']:.0f} in {seen['rollout/refills']:.0f} rounds"
        seconds = f"{pl_module.state.clock.elapsed():.1f} s"
        line = f"step {pl_module.state.rollout_step}/{trainer.datamodule.steps}  {facts}  {seconds}"
        if self.bar is not None:
            self.bar.update(self.task, advance=1, facts=facts)
            RUN_LOG.write(f"{line}\n")
        else:
            print(line, flush=True)

    @rank_zero_only
    def on_validation_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Count responses over all batches; announce the validation before training."""
        prompts, engines = trainer.datamodule.validation_prompts, _engines(trainer)
        asked = -(-len(prompts) // engines) * self.validation_samples
        self._responses = ResponseCount(_named("validation", engines), asked)
        self._spoken = time.monotonic()
        if pl_module.state.rollout_step == 0:
            problems = Counter(prompt.benchmark_name for prompt in prompts)
            number = "" if self.validation_samples == 1 else f", {self.validation_samples} responses to each"
            what = " and ".join(f"{count:,} problems of {name}" for name, count in problems.items())
            print(f"validation before training: {what}{number} (data.validation_limit)", flush=True)

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Print the validation's mean scores."""
        self._responses = None
        found = [f"{name} {value:.3f}" for name, value in trainer.callback_metrics.items() if "/mean@" in name]
        print(f"step {pl_module.state.rollout_step}  {'  '.join(found)}", flush=True)

    def on_fit_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Stop the bar before the summary."""
        self._stop()

    def teardown(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        """Stop the bar; its last state stays on the screen."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: PolicyModule, exception: BaseException) -> None:
        """Stop the bar."""
        self._stop()

    def _enter(self, trainer: Trainer, policy: PolicyModule, stage: str) -> None:
        """Show the stage; begin a new count with each generation of training."""
        if not trainer.validating:
            self._responses = None
            if stage == "generate":
                self._responses = ResponseCount(_named(f"step {policy.state.rollout_step}", _engines(trainer)))
                self._spoken = time.monotonic()
        if self.bar is not None:
            self.bar.update(self.task, stage=STAGES.get(stage, stage), refresh=True)

    def _count(self, trainer: Trainer, policy: PolicyModule, finished: int, asked: int) -> None:
        if self._responses is not None:
            self._responses.count(finished, asked)
            if self.bar is not None:
                self.bar.update(self.task, stage=f"generate {self._responses.share}")

    def _speak(self) -> None:
        """Print how many responses are finished, in a thread of its own: an engine may be silent for long."""
        while not self._ended.wait(min(1.0, self.every)):
            responses = self._responses
            if responses is not None and time.monotonic() - self._spoken >= self.every:
                self._spoken = time.monotonic()
                print(f"{responses.of}: {responses.share} responses finished", flush=True)

    def _stop(self) -> None:
        self._ended.set()
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _engines(trainer: Trainer) -> int:
    """Return how many engines generate; only the responses of this rank's engine are counted."""
    return next(each.collector.engine.layout.engines for each in trainer.callbacks if isinstance(each, RolloutCallback))


def _named(what: str, engines: int) -> str:
    return what if engines == 1 else f"{what}, 1 of {engines} engines"
