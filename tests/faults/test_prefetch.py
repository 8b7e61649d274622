"""Responses generated one rollout step ahead, by an engine of its own: what comes of them, and of what goes wrong."""

import json
import signal
from pathlib import Path

import pytest
from short_runs import Rows, responses, rows, run, start

pytestmark = pytest.mark.slow

AHEAD = ("rollout.async_steps=1", "policy.old_log_probs=rollout", "policy.skip_zero_advantage=false")


@pytest.fixture(scope="module")
def whole(qwen2_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps with refills and validations."""
    return run(qwen2_folder, tmp_path_factory.mktemp("whole"), *AHEAD)


def column(lines: Rows, name: str) -> list[str]:
    return [row[name] for row in lines[1:]]


def test_each_step_but_the_first_learns_from_the_policy_before(whole: Path) -> None:
    """Two optimizer steps make a version of a rollout step."""
    lines = rows(whole)
    assert column(lines, "rollout/staleness") == ["0.0", *["2.0"] * 5]
    gap, drift = column(lines, "rollout/log_prob_gap"), column(lines, "rollout/async_gap")
    assert float(gap[0]) < 1e-4
    assert not any(gap[1:])
    assert not drift[0]
    assert max(map(float, drift[1:])) > 1e-2, "of weights that two updates moved"
    assert float(column(lines, "policy/log_ratio_max")[-1]) > 1e-2, "it is in the ratios"


def test_only_the_first_responses_are_the_same_without(whole: Path, qwen2_folder: str, tmp_path: Path) -> None:
    calm = ("dynamic_sampling.max_refills=0", "callbacks.rollout_table.groups=4", "run.steps=3")
    ahead = responses(run(qwen2_folder, tmp_path / "ahead", *calm, *AHEAD))
    at_once = responses(run(qwen2_folder, tmp_path / "at_once", *calm))
    assert questions(ahead) == questions(at_once), "the same prompts in the same order"
    assert ahead["train.jsonl"].splitlines()[:4] == at_once["train.jsonl"].splitlines()[:4]
    assert ahead["train.jsonl"] != at_once["train.jsonl"]


@pytest.mark.parametrize(
    ("function", "call"), [("gmpo.policy.update.Update.__call__", 10), ("gmpo.checkpoint.folder.publish", 2)]
)
def test_what_was_ahead_is_there_after_a_kill(
    whole: Path, qwen2_folder: str, tmp_path: Path, function: str, call: int
) -> None:
    dies = ("+callbacks.dies._target_=die_at.DieAt", f"+callbacks.dies.function={function}")
    killed = start(qwen2_folder, tmp_path, *AHEAD, *dies, f"+callbacks.dies.call={call}", "+callbacks.dies.after=true")
    assert killed.wait() == -signal.SIGKILL, killed.said()
    again = start(qwen2_folder, tmp_path, *AHEAD)
    assert again.wait() == 0, again.said()
    assert "after step 4 of 6" in again.said()
    folder = tmp_path / "quickstart"
    assert (rows(folder), responses(folder)) == (rows(whole), responses(whole))


def test_an_engine_that_dies_meanwhile_is_started_again(qwen2_folder: str, tmp_path: Path) -> None:
    """The step that lost its responses generates them anew, with the newest weights."""
    killer = ("+callbacks.killer._target_=engine_killer.EngineKiller", "+callbacks.killer.step=2")
    settings = (*AHEAD, *killer, "+callbacks.killer.stage=update", "run.steps=4", "sampling.max_tokens=100")
    done = start(qwen2_folder, tmp_path, *settings)
    assert done.wait() == 0, done.said()
    assert "step 3: the engine's process has ended (exit code -9), while it generated ahead" in done.said()
    assert "It is started again, once" in done.said()
    assert column(rows(tmp_path / "quickstart"), "rollout/staleness") == ["0.0", "2.0", "0.0", "2.0"]


@pytest.mark.distributed
def test_ranks_are_ahead_together(whole: Path, qwen2_folder: str, tmp_path: Path) -> None:
    calm = ("reward._target_=digit_reward.DigitShare", "run.steps=3", *AHEAD)
    one, two = (rows(run(qwen2_folder, tmp_path / n, *calm, f"cluster={n}")) for n in ("cpu", "cpu2"))
    assert column(two, "rollout/staleness") == ["0.0", "2.0", "2.0"]
    for mine, expected in zip(column(two, "reward/mean"), column(one, "reward/mean"), strict=True):
        assert float(mine) == pytest.approx(float(expected), abs=0.02)


def questions(files: dict[str, bytes]) -> list[str]:
    return [json.loads(line)["prompt"] for line in files["train.jsonl"].splitlines()]
