import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch.loggers import Logger

from gmpo.metrics.loggers import MetricsCSV, MLflow, Wandb


@pytest.fixture
def logger(tmp_path: Path) -> MetricsCSV:
    return MetricsCSV(str(tmp_path))


def saved(logger: MetricsCSV) -> list[dict[str, str]]:
    """The file as it stands after a save."""
    logger.save()
    assert [path.name for path in logger.path.parent.iterdir()] == ["metrics.csv"]
    return list(csv.DictReader(logger.path.open(newline="")))


def test_one_row_for_each_rollout_step(logger: MetricsCSV) -> None:
    logger.log_metrics({"train/loss": 0.5}, step=1)
    logger.log_metrics({"val/arithmetic/mean@1": 0.25}, step=1)
    logger.log_metrics({"train/loss": 0.125}, step=2)
    logger.log_metrics({"time/step": 3.0}, step=1)
    assert saved(logger) == [
        {"rollout_step": "1", "train/loss": "0.5", "val/arithmetic/mean@1": "0.25", "time/step": "3.0"},
        {"rollout_step": "2", "train/loss": "0.125", "val/arithmetic/mean@1": "", "time/step": ""},
    ]


def test_new_columns_may_come_later(logger: MetricsCSV) -> None:
    logger.log_metrics({"train/loss": 0.5}, step=1)
    assert saved(logger) == [{"rollout_step": "1", "train/loss": "0.5"}]
    logger.log_metrics({"val/accuracy": 0.75}, step=2)
    assert saved(logger) == [
        {"rollout_step": "1", "train/loss": "0.5", "val/accuracy": ""},
        {"rollout_step": "2", "train/loss": "", "val/accuracy": "0.75"},
    ]


def test_file_is_complete_after_each_save(logger: MetricsCSV) -> None:
    losses = [1 / 3 + step for step in range(5)]
    for step, loss in enumerate(losses):
        logger.log_metrics({"train/loss": loss}, step=step)
        assert [float(row["train/loss"]) for row in saved(logger)] == losses[: step + 1]


def test_last_value_of_a_step_stays(logger: MetricsCSV) -> None:
    logger.log_metrics({"train/loss": 1.0}, step=1)
    logger.log_metrics({"train/loss": 2.0}, step=1)
    assert saved(logger) == [{"rollout_step": "1", "train/loss": "2.0"}]


def test_only_named_metrics_are_kept(logger: MetricsCSV) -> None:
    logger.log_metrics({"epoch": 0.0, "train/loss": 1.0}, step=1)
    assert list(saved(logger)[0]) == ["rollout_step", "train/loss"]


def test_step_is_required(logger: MetricsCSV) -> None:
    with pytest.raises(AssertionError, match="rollout step"):
        logger.log_metrics({"train/loss": 1.0})


def logged_twice(make: Callable[[], Logger]) -> list[str]:
    """The ids that two processes of one run, one after the other, log to."""
    ids = []
    for step in (1, 2):
        logger = make()
        logger.log_metrics({"reward/mean": 0.5 * step}, step=step)
        ids.append(str(logger.version))
        logger.finalize("success")
    return ids


def test_mlflow_goes_on_with_the_same_run(tmp_path: Path) -> None:
    client = pytest.importorskip("mlflow").MlflowClient
    uri = f"sqlite:///{tmp_path}/mlflow.db"

    def make(folder: str) -> Logger:
        (tmp_path / folder).mkdir(exist_ok=True)
        return MLflow(str(tmp_path / folder), tracking_uri=uri, artifact_location=str(tmp_path / "mlruns"))

    first, again = logged_twice(lambda: make("a"))
    assert first == again
    assert [(each.step, each.value) for each in client(uri).get_metric_history(first, "reward/mean")] == [
        (1, 0.5),
        (2, 1),
    ]
    assert first not in logged_twice(lambda: make("b")), "another run has an id of its own"


def test_wandb_goes_on_with_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")

    def make(folder: str) -> Logger:
        wandb.finish()  # a process that ends does so
        (tmp_path / folder).mkdir(exist_ok=True)
        return Wandb(str(tmp_path / folder), project="gmpo", name="run")

    first, again = logged_twice(lambda: make("a"))
    assert first == again == (tmp_path / "a" / "wandb_id").read_text()
    assert len(list((tmp_path / "a" / "wandb").glob(f"offline-run-*-{first}"))) == 2, "files of both processes"
    assert first not in logged_twice(lambda: make("b"))
    wandb.finish()
