"""Loggers of metrics: the run's own record, TensorBoard, Weights & Biases and MLflow."""

import csv
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from gmpo.checkpoint.atomic import write_atomically

log = logging.getLogger(__name__)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv, each with what it has a value of; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


class MetricsCSV(Logger):
    """metrics.csv: one row for each rollout step, validation of that step included.

    Lightning's CSVLogger writes a row for each call, so training and validation metrics of one step stand in
    different rows; here they share one. Written whole at each change: a new column needs no other care, and
    a reader never meets half a row.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder, "metrics.csv")
        self._failing = False

    @cached_property
    def rows(self) -> dict[int, dict[str, float | str]]:
        """By rollout step; of a run that goes on, with those that are there."""
        return {int(row["rollout_step"]): {**row} for row in read_metrics(self.path)}

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

    def write(self) -> None:
        """As `save`, but raises OSError where it fails."""
        write_metrics(self.path, list(self.rows.values()))

    @rank_zero_only
    def save(self) -> None:
        """Write the file; where that fails, it is said once, and the rows are in the next one."""
        try:
            self.write()
        except OSError as error:
            if not self._failing:
                log.error("%s could not be written (%s): its rows are kept until it can", self.path, error.strerror)
            self._failing = True
        else:
            self._failing = False


def write_metrics(path: Path, rows: Sequence[Mapping[str, float | str]]) -> None:
    """Write a whole metrics.csv, in place of what was there."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with write_atomically(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class TensorBoard(TensorBoardLogger):
    """TensorBoard's events. What a full disk refuses is missing among them, and training goes on."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """As `Logger`."""
        with self._begun_anew_where_it_fails():
            super().log_metrics(metrics, step)

    def log_text(self, tag: str, text: str, step: int) -> None:
        """Markdown."""
        with self._begun_anew_where_it_fails():
            self.experiment.add_text(tag, text, step)

    def log_margin(self, chart: str, title: str, names: Sequence[str]) -> None:
        """Lay out a chart of a value between two others: names of the value, the lower and the upper one."""
        with self._begun_anew_where_it_fails():
            self.experiment.add_custom_scalars({chart: {title: ["Margin", list(names)]}})

    def save(self) -> None:
        """As `Logger`."""
        with self._begun_anew_where_it_fails():
            super().save()

    def finalize(self, status: str) -> None:
        """As `Logger`."""
        with self._begun_anew_where_it_fails():
            super().finalize(status)

    @contextmanager
    def _begun_anew_where_it_fails(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            fault = error if isinstance(error, OSError) else error.__cause__  # Lightning makes the second of the first
            if not isinstance(fault, OSError):
                raise
            log.error("%s could not be written (%s): what it lacks is in metrics.csv", self.log_dir, fault.strerror)
            self._experiment = None  # the thread that writes has ended


class Wandb(WandbLogger):
    """A run of Weights & Biases, the same one after each resume: its id is kept in FOLDER/wandb_id.

    settings: of Lightning's logger and of wandb.init.
    """

    def __init__(self, folder: str, **settings: Any) -> None:
        super().__init__(save_dir=folder, **settings | {"resume": "allow"})
        self._kept_id = Path(folder, "wandb_id")

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run; begun, or resumed, when it is asked for first."""
        if self._experiment is None and self._wandb_init.get("id") is None:
            if not self._kept_id.is_file():
                self._kept_id.write_text(secrets.token_hex(8))
            self._wandb_init["id"] = self._id = self._kept_id.read_text()
        return super().experiment


class MLflow(MLFlowLogger):
    """A run of MLflow, the same one after each resume: its id is kept in FOLDER/mlflow_id.

    settings: of Lightning's logger.
    """

    _run_id: str | None

    def __init__(self, folder: str, **settings: Any) -> None:
        if rank_zero_only.rank > 0:  # it logs nothing, and is not to make tables beside the first one
            settings |= {"tracking_uri": "sqlite:///:memory:"}
        super().__init__(**settings)
        self._kept_id = Path(folder, "mlflow_id")

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's client; the run is begun, or resumed, when it is asked for first."""
        if self._run_id is None and self._kept_id.is_file():
            self._run_id = self._kept_id.read_text()
        client = super().experiment
        if not self._kept_id.is_file():
            self._kept_id.write_text(str(self._run_id))
        return client
