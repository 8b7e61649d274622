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
    """Return the rows of a metrics.csv, without empty cells; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


class MetricsCSV(Logger):
    """metrics.csv: one row for each rollout step, validation of that step included.

    Lightning's CSVLogger writes a row for each call, so training and validation metrics of one step are in different
    rows; here they share one. The whole file is written at each change, so that new columns are simple and a reader
    never sees half a row.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder, "metrics.csv")
        self._failing = False

    @cached_property
    def rows(self) -> dict[int, dict[str, float | str]]:
        """Rows by rollout step; in a resumed run, with the existing ones."""
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
        """Do nothing: config.yaml holds them."""

    def write(self) -> None:
        """Write the file; raises OSError where that fails."""
        write_metrics(self.path, list(self.rows.values()))

    @rank_zero_only
    def save(self) -> None:
        """Write the file; a failure is logged once, and the next write includes the rows."""
        try:
            self.write()
        except OSError as error:
            if not self._failing:
                log.error("%s could not be written (%s): its rows are kept until it can", self.path, error.strerror)
            self._failing = True
        else:
            self._failing = False


def write_metrics(path: Path, rows: Sequence[Mapping[str, float | str]]) -> None:
    """Write a whole metrics.csv, replacing the old one."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with write_atomically(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class TensorBoard(TensorBoardLogger):
    """TensorBoard's events. Events that a full disk refuses are lost, and training continues."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with self._begun_anew_where_it_fails():
            super().log_metrics(metrics, step)

    def log_text(self, tag: str, text: str, step: int) -> None:
        """Log a text in Markdown."""
        with self._begun_anew_where_it_fails():
            self.experiment.add_text(tag, text, step)

    def log_margin(self, chart: str, title: str, names: Sequence[str]) -> None:
        """Define a chart of a value between bounds; names: of the value, the lower and the upper bound."""
        with self._begun_anew_where_it_fails():
            self.experiment.add_custom_scalars({chart: {title: ["Margin", list(names)]}})

    def save(self) -> None:
        with self._begun_anew_where_it_fails():
            super().save()

    def finalize(self, status: str) -> None:
        with self._begun_anew_where_it_fails():
            super().finalize(status)

    @contextmanager
    def _begun_anew_where_it_fails(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            fault = (
                error if isinstance(error, OSError) else error.__cause__
            )  # Lightning raises the second from the first
            if not isinstance(fault, OSError):
                raise
            log.error("%s could not be written (%s): what it lacks is in metrics.csv", self.log_dir, fault.strerror)
            self._experiment = None  # the thread that writes has ended


class Wandb(WandbLogger):
    """A Weights & Biases run, the same after each resume: its id is kept in FOLDER/wandb_id.

    settings: of Lightning's logger and of wandb.init.
    """

    def __init__(self, folder: str, **settings: Any) -> None:
        super().__init__(save_dir=folder, **settings | {"resume": "allow"})
        self._kept_id = Path(folder, "wandb_id")

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, begun or resumed at first access."""
        if self._experiment is None and self._wandb_init.get("id") is None:
            if not self._kept_id.is_file():
                self._kept_id.write_text(secrets.token_hex(8))
            self._wandb_init["id"] = self._id = self._kept_id.read_text()
        return super().experiment


class MLflow(MLFlowLogger):
    """An MLflow run, the same after each resume: its id is kept in FOLDER/mlflow_id.

    settings: of Lightning's logger.
    """

    _run_id: str | None

    def __init__(self, folder: str, **settings: Any) -> None:
        if rank_zero_only.rank > 0:  # it logs nothing, and must not create tables at the same time as rank 0
            settings |= {"tracking_uri": "sqlite:///:memory:"}
        super().__init__(**settings)
        self._kept_id = Path(folder, "mlflow_id")

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's client; the run is begun or resumed at first access."""
        if self._run_id is None and self._kept_id.is_file():
            self._run_id = self._kept_id.read_text()
        client = super().experiment
        if not self._kept_id.is_file():
            self._kept_id.write_text(str(self._run_id))
        return client
