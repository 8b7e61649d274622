"""The beginning of `make demo`: the real tiny model, real vLLM, and a reward that rises."""

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_train_command import train

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]


def test_reward_rises(tmp_path: Path) -> None:
    done = train("experiment=quickstart", "run.steps=20", "run.validate_every=20", f"run.root={tmp_path}")
    assert done.returncode == 0, done.stderr[-3000:]
    with (tmp_path / "quickstart" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    rewards = [float(row["reward/mean"]) for row in rows[1:]]
    assert 0.2 < sum(rewards[:3]) / 3 <= 0.6
    assert sum(rewards[-5:]) / 5 > sum(rewards[:3]) / 3 + 0.05
    assert float(rows[-1]["val/arithmetic/mean@1"]) > float(rows[0]["val/arithmetic/mean@1"])
    assert max(float(row["rollout/log_prob_gap"]) for row in rows[1:]) < 1e-5
    assert str(tmp_path / "quickstart") in done.stdout.replace("\n", "")


def test_generation_ahead_goes_on_beside_the_update(tmp_path: Path) -> None:
    settings = ("rollout.async_steps=1", "profile=true", "batch.prompts=16", "batch.mini_batch_prompts=4")
    done = train("experiment=quickstart", *settings, "run.steps=4", "run.validate_every=null", f"run.root={tmp_path}")
    assert done.returncode == 0, done.stderr[-3000:]
    trace = json.loads((tmp_path / "quickstart" / "profile" / "steps-2-4-rank-0.json").read_text())
    ranges = [event for event in trace["traceEvents"] if event.get("cat") == "user_annotation"]
    updates = [event for event in ranges if event["name"] == "update"]
    beside = [event for event in ranges if event["name"] == "generate" and event["tid"] != updates[0]["tid"]]
    assert len(beside) == 2, "in steps 2 and 3, for steps 3 and 4"
    assert all(any(overlap(one, update) > 0 for update in updates) for one in beside)


def overlap(one: dict[str, float], other: dict[str, float]) -> float:
    """Microseconds that two ranges of a trace have in common."""
    return min(one["ts"] + one["dur"], other["ts"] + other["dur"]) - max(one["ts"], other["ts"])
