"""What a person sees while a run goes on."""

from lightning import Callback, Trainer
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

from gmpo.policy import PolicyModule
from gmpo.types import PromptBatch

STAGES = {
    "weight_sync": "sync",
    "generate": "generate",
    "reward": "score",
    "exchange": "exchange",
    "log_probs": "update",
    "update": "update",
}


class ProgressCallback(Callback):
    """A bar with the stage at work, reward and response length; in a file or a pipe, a line for each step."""

    def __init__(self) -> None:
        self.console = Console()
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def setup(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        """Show the bar."""
        if trainer.is_global_zero and self.console.is_terminal:
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
        pl_module.clock.on_stage.append(self._show_stage)

    def on_train_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Count from here."""
        if self.bar is not None:
            self.bar.update(self.task, total=trainer.datamodule.steps, completed=pl_module.rollout_step)

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """One step further."""
        seen = trainer.callback_metrics
        facts = f"reward {seen['reward/mean']:.3f}  length {seen['rollout/response_length']:.1f}"
        if "rollout/refilled_groups" in seen:
            facts += f"  refilled {seen['rollout/refilled_groups']:.0f} in {seen['rollout/refills']:.0f} rounds"
        if self.bar is not None:
            self.bar.update(self.task, advance=1, facts=facts)
        else:
            seconds = f"{pl_module.clock.elapsed():.1f} s"
            print(
                f"step {pl_module.rollout_step}/{trainer.datamodule.steps}  {facts}  {seconds}",
                flush=True,
            )

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Say what validation found."""
        found = [f"{name} {value:.3f}" for name, value in trainer.callback_metrics.items() if "/mean@" in name]
        self.console.print(f"step {pl_module.rollout_step}  {'  '.join(found)}", highlight=False)

    def on_fit_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Make room for the summary."""
        self._stop()

    def teardown(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        """Leave the last state on the screen."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: PolicyModule, exception: BaseException) -> None:
        """Give the screen back."""
        self._stop()

    def _show_stage(self, stage: str) -> None:
        if self.bar is not None:
            self.bar.update(self.task, stage=STAGES.get(stage, stage), refresh=True)

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
