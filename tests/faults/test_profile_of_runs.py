"""`profile=true`, in whole runs."""

import json
from collections import Counter
from pathlib import Path

import pytest
from short_runs import run, start

STAGES = {"weight_sync", "generate", "reward", "exchange", "log_probs", "update"}


def content(trace: Path) -> tuple[Counter[str], int]:
    """How often each step and stage stands in a trace, and how many operations."""
    events = json.loads(trace.read_text())["traceEvents"]
    ranges = Counter(event["name"] for event in events if event.get("cat") == "user_annotation")
    operations = sum(event.get("cat") == "cpu_op" for event in events)
    return Counter({name: ranges[name] for name in (*STAGES, "rollout step")}), operations


@pytest.mark.slow
def test_steps_and_stages_are_recorded(qwen2_folder: str, tmp_path: Path) -> None:
    settings = ("profile=true", "dynamic_sampling.max_refills=0")
    folder = run(qwen2_folder, tmp_path, *settings, "run.steps=5", "run.validate_every=3", "checkpoint.every=1")
    ranges, operations = content(folder / "profile" / "steps-2-4-rank-0.json")
    assert ranges["rollout step"] == ranges["weight_sync"] == 3
    assert ranges["update"] == 6
    assert ranges["generate"] == 4  # a validation stands after step 3
    assert ranges.keys() == {*STAGES, "rollout step"}
    said = (tmp_path / "output-0").read_text()
    assert said.index("step 4/5") < said.index("steps-2-4-rank-0.json in ui.perfetto.dev") < said.index("step 5/5")

    long = ("callbacks.profile.max_tokens=513", "run.validate_every=null")
    fails = (
        "+callbacks.late._target_=late_reward.BreaksAfter",
        "+callbacks.late.step=7",
        "+callbacks.late.at_once=true",
    )
    done = start(qwen2_folder, tmp_path, *settings, f"resume={folder}", "run.steps=9", *long, *fails)
    assert done.wait() == 1, done.said()
    ranges, without_engine = content(folder / "profile" / "steps-7-8-rank-0.json")
    assert ranges["rollout step"] == ranges["generate"] == 2
    assert ranges["update"] == 2, "the second of them ended in an error"
    assert 0 < without_engine < operations / 4
