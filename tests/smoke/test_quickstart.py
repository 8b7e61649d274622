"""The beginning of `make demo`: the real tiny model, real vLLM, and a reward that rises."""

import csv
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_train_command import train


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
def test_reward_rises(tmp_path: Path) -> None:
    done = train("run.steps=20", "run.validate_every=20", f"run.root={tmp_path}")
    assert done.returncode == 0, done.stderr[-3000:]
    with (tmp_path / "quickstart" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    rewards = [float(row["reward/mean"]) for row in rows[1:]]
    assert 0.2 < sum(rewards[:3]) / 3 <= 0.6
    assert sum(rewards[-5:]) / 5 > sum(rewards[:3]) / 3 + 0.05
    assert float(rows[-1]["val/arithmetic/mean@1"]) > float(rows[0]["val/arithmetic/mean@1"])
    assert max(float(row["rollout/log_prob_gap"]) for row in rows[1:]) < 1e-5
    assert str(tmp_path / "quickstart") in done.stdout.replace("\n", "")
