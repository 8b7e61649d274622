"""Every objective and every term of the loss trains, by the same path as `python train.py`."""

import csv
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from test_train_command import HERE, SMALL

from gmpo.config import check
from gmpo.training import prepare

pytestmark = pytest.mark.slow  # all together
OBJECTIVES = sorted(path.stem for path in (ROOT / "configs" / "objective").glob("*.yaml"))


@pytest.fixture(autouse=True)
def reward_of_these_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(HERE)])


def run(folder: Path, model: str, *overrides: str) -> tuple[list[dict[str, float]], str | None]:
    """The numbers in the training rows of metrics.csv, and why the run ended early."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        names = (f"run.root={folder}", "run.name=run", f"model.path={model}", "rollout=transformers")
        cfg = compose("train", [*SMALL, *names, "run.steps=2", "run.validate_every=null", *overrides])
    check(cfg)
    ended = prepare(cfg).run()
    with (folder / "run" / "metrics.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)], ended


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objective_trains(tmp_path: Path, qwen2_folder: str, objective: str) -> None:
    rows, ended = run(tmp_path, qwen2_folder, f"objective={objective}")
    assert ended is None
    assert [row["rollout_step"] for row in rows] == [1, 2]
    assert all(row["policy/grad_norm"] > 0 for row in rows)
    assert rows[1]["policy/log_ratio_min"] < 0 < rows[1]["policy/log_ratio_max"]
    split = [row["policy/clip_fraction_high"] + row["policy/clip_fraction_low"] for row in rows]
    assert split == pytest.approx([row["policy/clip_fraction"] for row in rows])
    assert (rows[1]["policy/clip_fraction"] > 0) == (objective not in ("gmpo_noclip", "sapo"))


@pytest.mark.parametrize("placement", ["loss", "reward"])
def test_kl_to_the_initial_policy_is_0_and_grows(tmp_path: Path, qwen2_folder: str, placement: str) -> None:
    rows, _ = run(tmp_path, qwen2_folder, "kl.coefficient=0.01", f"kl.placement={placement}", "run.steps=3")
    kl = [row["policy/kl_ref"] for row in rows]
    assert kl[0] == 0
    assert kl[2] > kl[1] > 0
    taken_off = [row.get("reward/kl_penalty", 0) > 0 for row in rows]
    assert taken_off == [False, placement == "reward", placement == "reward"]


def test_kl_pulls_back(tmp_path: Path, qwen2_folder: str) -> None:
    free, _ = run(tmp_path / "free", qwen2_folder, "kl.coefficient=1e-9", "run.steps=3", "run.seed=1")
    held, _ = run(tmp_path / "held", qwen2_folder, "kl.coefficient=10", "run.steps=3", "run.seed=1")
    assert held[2]["policy/kl_ref"] < free[2]["policy/kl_ref"] / 2


def test_an_entropy_bonus_raises_the_entropy(tmp_path: Path, qwen2_folder: str) -> None:
    without, _ = run(tmp_path / "without", qwen2_folder)
    bonus, _ = run(tmp_path / "with", qwen2_folder, "entropy.coefficient=10")
    assert bonus[0]["policy/entropy"] == without[0]["policy/entropy"]
    assert bonus[1]["policy/entropy"] > without[1]["policy/entropy"] + 0.1


@pytest.mark.parametrize("choice", ["truncated", "masked"])
def test_correction_counts_what_it_touches(tmp_path: Path, qwen2_folder: str, choice: str) -> None:
    bounds = ["correction.low=0.9999999", "correction.high=1.0000001"]
    rows, _ = run(tmp_path, qwen2_folder, f"correction={choice}", *bounds)
    assert 0 < rows[0]["rollout/corrected_fraction"] < 1
    rows, _ = run(tmp_path / "wide", qwen2_folder, f"correction={choice}", "correction.level=sequence")
    assert rows[0]["rollout/corrected_fraction"] == 0


def test_the_engine_can_be_the_behaviour_policy(tmp_path: Path, qwen2_folder: str) -> None:
    rows, _ = run(tmp_path / "engine", qwen2_folder, "policy.old_log_probs=rollout")
    trainer, _ = run(tmp_path / "trainer", qwen2_folder, "policy.old_log_probs=trainer")
    for name in ("policy/loss", "policy/grad_norm", "reward/mean"):
        assert rows[0][name] == pytest.approx(trainer[0][name], rel=1e-3)
    assert 0 < rows[0]["rollout/log_prob_gap"] < 1e-5


def test_dynamic_sampling_refills_from_fresh_prompts(
    tmp_path: Path, qwen2_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = "reward._target_=digit_reward.EarlyDigit"
    rows, ended = run(tmp_path, qwen2_folder, digits, "dynamic_sampling.max_refills=2", "batch.group_size=4")
    assert ended is None
    assert all(row["rollout/refills"] in (1, 2) for row in rows)
    assert all(row["rollout/refilled_groups"] > 0 for row in rows)
    assert f"refilled {rows[0]['rollout/refilled_groups']:.0f}" in capsys.readouterr().out


@pytest.mark.parametrize("max_refills", [1, 3])
def test_a_data_set_without_any_signal_ends_the_run(tmp_path: Path, qwen2_folder: str, max_refills: int) -> None:
    zero = "reward._target_=digit_reward.Zero"
    rows, ended = run(tmp_path, qwen2_folder, zero, f"dynamic_sampling.max_refills={max_refills}", "run.steps=50")
    assert ended is not None
    assert f"no signal in {8 * (1 + max_refills)} groups" in ended
    assert "their mean is 0.000" in ended
    assert len(rows) == 1
    assert rows[0]["rollout/unfilled_groups"] == 8
    assert (tmp_path / "run" / "rollouts" / "train.jsonl").is_file()
    assert (tmp_path / "run" / "model" / "config.json").is_file(), "nothing is lost"


def test_overlong_responses_are_penalised(tmp_path: Path, qwen2_folder: str) -> None:
    rows, _ = run(tmp_path, qwen2_folder, "overlong.buffer=6", "overlong.factor=0.5")
    truncated = rows[0]["rollout/truncated_fraction"]
    assert 0.5 * truncated <= rows[0]["reward/penalty"] <= 0.5


def test_where_all_is_filtered_nothing_is_learned_and_that_is_said(
    tmp_path: Path, qwen2_folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    filtered = ("overlong.filter_truncated=true", "sampling.max_tokens=1", "run.seed=1")  # no response ends by itself
    rows, ended = run(tmp_path / "off", qwen2_folder, *filtered)
    assert rows[0]["rollout/truncated_fraction"] == 1
    assert "policy/grad_norm" not in rows[0]
    assert ended is None
    assert "step 1: no group carries a signal, nothing is learned" in caplog.text
    rows, ended = run(tmp_path / "on", qwen2_folder, *filtered, "dynamic_sampling.max_refills=1")
    assert ended is not None
    assert len(rows) == 1


def test_a_kl_learns_where_rewards_do_not_differ(tmp_path: Path, qwen2_folder: str) -> None:
    zero = ("reward._target_=digit_reward.Zero", "dynamic_sampling.max_refills=1")
    for placement in ("loss", "reward"):
        rows, ended = run(tmp_path / placement, qwen2_folder, *zero, "kl.coefficient=0.1", f"kl.placement={placement}")
        assert ended is None
        assert len(rows) == 2
        assert rows[0]["rollout/unfilled_groups"] == 8
