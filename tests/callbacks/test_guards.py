"""Limits on metrics: a warning when one is broken, and again when it is broken anew; or the end of the run."""

import logging
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from small_training import module

from gmpo.callbacks import Guard, GuardsCallback
from gmpo.metrics.update import UpdateMetrics
from gmpo.policy.module import PolicyModule

GUARD = Guard("policy/entropy", "too sure", low=0.1, high=5.0)


def watch(callback: GuardsCallback, policy: PolicyModule, value: float) -> None:
    """A step with that entropy; a trainer is here no more than its metrics."""
    trainer = SimpleNamespace(callback_metrics={"policy/entropy": torch.tensor(value)})
    policy.state.rollout_step += 1
    callback.on_train_batch_end(trainer, policy, None, None, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "bound"),
    [(0.1, None), (5.0, None), (0.09, "below 0.1"), (5.01, "above 5"), (float("nan"), "not a number")],
)
def test_bounds(value: float, bound: str | None) -> None:
    assert GUARD.broken_by(value) == bound
    assert Guard("a/b", "").broken_by(value) is None


def test_a_warning_names_metric_value_bound_and_cause_once(qwen2_folder: str, caplog: pytest.LogCaptureFixture) -> None:
    callback, policy = GuardsCallback("warn", entropy=GUARD, other=Guard("not/there", "", low=1)), module(qwen2_folder)
    with caplog.at_level(logging.WARNING):
        for value in (1.0, 0.05, 0.04, 1.0):
            watch(callback, policy, value)
        said = "step 2: policy/entropy is 0.05, below 0.1 (guards.entropy): too sure"
        assert [record.message for record in caplog.records] == [said]
        watch(callback, policy, 7.0)
    assert caplog.records[-1].message == "step 5: policy/entropy is 7, above 5 (guards.entropy): too sure"
    again = GuardsCallback("warn", entropy=GUARD)
    again.load_state_dict(callback.state_dict())
    caplog.clear()
    watch(again, policy, 8.0)
    assert not caplog.records, "it was said before the run was resumed"


def test_it_can_end_the_run(qwen2_folder: str) -> None:
    callback, policy = GuardsCallback("stop", entropy=GUARD), module(qwen2_folder)
    watch(callback, policy, 1.0)
    assert policy.state.stop_reason is None
    watch(callback, policy, 0.01)
    assert policy.state.stop_reason == "step 2: policy/entropy is 0.01, below 0.1 (guards.entropy): too sure"


def test_the_defaults_watch_metrics_that_there_are() -> None:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        guards = instantiate(compose("train", []).guards).guards
    assert set(guards) == {"entropy", "response_length", "truncated", "kl", "log_prob_gap"}
    logged = {*UpdateMetrics().metrics, "rollout/response_length", "rollout/truncated_fraction"}
    assert {guard.metric for guard in guards.values()} <= logged


def test_what_to_do_is_one_of_two() -> None:
    with pytest.raises(ValueError, match=r"guards\.on_violation=cry must be warn or stop"):
        GuardsCallback("cry")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metric": "entropy", "cause": ""}, "metric=entropy of a guard is no metric's name"),
        ({"metric": "a/b", "cause": "", "low": 2.0, "high": 1.0}, r"low=2\.0 above high=1\.0"),
    ],
)
def test_guards_that_cannot_hold_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Guard(**settings)  # type: ignore[arg-type]


def test_a_guard_of_a_metric_that_never_comes_is_warned_of_once(
    qwen2_folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {"entropi": Guard("policy/entropi", "", low=0.1), "val": Guard("val/x/mean@8", "", low=0.1)}
    callback, policy = GuardsCallback("warn", entropy=GUARD, **wrong), module(qwen2_folder)
    metrics = {"policy/entropy": torch.tensor(1.0), "rollout/log_prob_gap": torch.tensor(0.0)}
    trainer = SimpleNamespace(callback_metrics=metrics, enable_validation=True)
    for _ in range(2):
        callback.on_train_batch_end(trainer, policy, None, None, 0)  # type: ignore[arg-type]
    warnings = [record.message for record in caplog.records]
    assert len(warnings) == 1
    assert "guards.entropi watches nothing: this run logs no metric policy/entropi" in warnings[0]
    metrics["val/x/mean@4"] = torch.tensor(1.0)
    for _ in range(2):
        callback.on_validation_end(trainer, policy)  # type: ignore[arg-type]
    assert "guards.val watches nothing: this run logs no metric val/x/mean@8" in caplog.records[-1].message
    assert len(caplog.records) == 2
