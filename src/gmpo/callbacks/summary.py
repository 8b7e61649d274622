"""The table at the end of a run."""

from pathlib import Path
from statistics import fmean

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table

from gmpo.callbacks.ordered import OrderedCallback
from gmpo.callbacks.throughput import STAGES
from gmpo.metrics.loggers import read_metrics
from gmpo.policy.module import PolicyModule

FIRST, LAST = 3, 5  # rollout steps that "before" and "after" average over
FEWEST = 6  # rollout steps: with fewer, the first and last ones largely overlap


class SummaryCallback(OrderedCallback):
    """Prints reward and validation before and after, tokens per second, where the time went, and the folder.

    They cover the whole run, as recorded in its metrics.csv, however often it was resumed.
    """

    order = 95

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.steps: list[dict[str, float]] = []
        self.validations: list[dict[str, float]] = []

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Print the tables."""
        rows = read_metrics(Path(self.folder, "metrics.csv"))
        numbers = [{name: float(value) for name, value in row.items()} for row in rows]
        self.steps = [row for row in numbers if "time/step" in row]
        validations = [{name: row[name] for name in row if name.startswith("val/") and "@" in name} for row in numbers]
        self.validations = [row for row in validations if row]
        console = Console()
        if self.steps:
            if len(self.steps) >= FEWEST or self.validations:
                console.print(self._before_and_after())
            console.print(self._where_time_went())
        console.print(f"run folder: {self.folder}", highlight=False, soft_wrap=True)

    def _before_and_after(self) -> Table:
        table = Table("", "before", "after", title=f"after {len(self.steps)} rollout steps")
        first, last = self.steps[:FIRST], self.steps[-LAST:]
        if len(self.steps) >= FEWEST:
            rewards = [f"{fmean(step['reward/mean'] for step in steps):.3f}" for steps in (first, last)]
            table.add_row(f"reward/mean (first {FIRST}, last {LAST} steps)", *rewards)
        if self.validations:
            before, after = self.validations[0], self.validations[-1]
            for name in before:
                table.add_row(name, f"{before[name]:.3f}", f"{after[name]:.3f}")
        return table

    def _where_time_went(self) -> Table:
        total = sum(step["time/step"] for step in self.steps)
        tokens = sum(step["throughput/tokens_per_second"] * step["time/step"] for step in self.steps)
        table = Table("stage", "seconds", "share", title=f"{tokens / total:.0f} response tokens/s over {total:.0f} s")
        seconds = {stage: sum(step[f"time/{stage}"] for step in self.steps) for stage in STAGES}
        for stage, spent in (seconds | {"other": total - sum(seconds.values())}).items():
            table.add_row(stage, f"{spent:.1f}", f"{spent / total:.0%}")
        return table
