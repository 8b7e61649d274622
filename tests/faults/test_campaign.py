"""`benchmarks/faults.py` in short: kills at random moments, on one rank and on two, change nothing that a run leaves."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from short_runs import responses, rows, start, wait_for

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("ranks", "kills"), [((), 4), pytest.param(("cluster=cpu2",), 3, marks=pytest.mark.distributed)], ids=["1", "2"]
)
def test_random_kills(qwen2_folder: str, tmp_path: Path, ranks: tuple[str, ...], kills: int) -> None:
    settings = (*ranks, "run.steps=10")
    began = time.monotonic()
    whole = start(qwen2_folder, tmp_path / "whole", *settings)
    whole.wait_for("step 1/")
    until_first_step = time.monotonic() - began
    assert whole.wait() == 0, whole.said()
    work = time.monotonic() - began - until_first_step
    moments, resumed, killed = random.Random(0), 0, 0
    for _ in range(kills):
        running = start(qwen2_folder, tmp_path, *settings)
        wait_for(lambda running=running: running.said() or running.process.exitcode is not None, 60)
        time.sleep(moments.uniform(0.2, 0.8) * until_first_step + moments.uniform(0, 1) * work)
        if running.process.exitcode is None:
            os.killpg(running.pid, signal.SIGKILL)
            killed += 1
        running.wait()
        resumed += "resuming " in running.said()
    if not (tmp_path / "quickstart" / "finished").exists():
        last = start(qwen2_folder, tmp_path, *settings)
        assert last.wait() == 0, last.said()
        resumed += "resuming " in last.said()
    assert killed
    assert resumed
    expected = tmp_path / "whole" / "quickstart"
    assert rows(tmp_path / "quickstart") == rows(expected)
    assert responses(tmp_path / "quickstart") == responses(expected)
