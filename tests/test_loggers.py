import csv
from pathlib import Path

import pytest

from gmpo.loggers import MetricsCSV


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
