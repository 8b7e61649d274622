"""The run's own record of metrics."""

import csv
from pathlib import Path

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class MetricsCSV(Logger):
    """metrics.csv: one row for each rollout step, validation of that step included.

    Lightning's CSVLogger writes a row for each call, so training and validation metrics of one step stand in
    different rows; here they share one. Written whole at each change: a new column needs no other care, and
    a reader never meets half a row.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder, "metrics.csv")
        self.rows: dict[int, dict[str, float]] = {}  # by rollout step

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.parent.name

    @property
    def version(self) -> str:
        """Empty: a run's folder is written once."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add to the row of `step`, the rollout step."""
        assert step is not None, "the rollout step is the axis of every metric"
        row = self.rows.setdefault(step, {"rollout_step": step})
        row.update({name: value for name, value in metrics.items() if "/" in name})

    @rank_zero_only
    def log_hyperparams(self, params: object, *args: object, **kwargs: object) -> None:
        """Nothing: config.yaml holds them."""

    @rank_zero_only
    def save(self) -> None:
        """Write the file."""
        columns = list(dict.fromkeys(column for row in self.rows.values() for column in row))
        part = self.path.with_suffix(".csv.part")
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows.values())
        part.replace(self.path)
