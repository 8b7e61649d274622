"""`benchmarks/faults.py` in short: kills at random moments, on one rank and on two, change nothing of a run."""

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
from short_runs import responses, rows, start, wait_for

from gmpo.checkpoint.folder import steps_in

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("ranks", "kills"), [((), 4), pytest.param(("cluster=cpu2",), 2, marks=pytest.mark.distributed)], ids=["1", "2"]
)
def test_random_kills(qwen2_folder: str, tmp_path: Path, ranks: tuple[str, ...], kills: int) -> None:
    settings = (*ranks, "run.steps=12")
    whole = start(qwen2_folder, tmp_path / "whole", *settings)
    assert whole.wait() == 0, whole.said()
    moments, resumed = random.Random(0), 0
    for kill in range(kills):
        running, steps = start(qwen2_folder, tmp_path, *settings), moments.randint(1, 3)
        wait_for(lambda running=running, steps=steps: len(re.findall(r"step \d+/", running.said())) >= steps, 60)
        if kill == kills - 1:  # on a slow disk nothing may be saved before: there is to be something to go on from
            wait_for(lambda: steps_in(tmp_path / "quickstart" / "checkpoints"), 60)
        time.sleep(moments.uniform(0, 0.3))
        os.killpg(running.pid, signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL, running.said()
        resumed += "resuming " in running.said()
    if not (tmp_path / "quickstart" / "finished").exists():
        last = start(qwen2_folder, tmp_path, *settings)
        assert last.wait() == 0, last.said()
        resumed += "resuming " in last.said()
    assert resumed
    expected = tmp_path / "whole" / "quickstart"
    assert rows(tmp_path / "quickstart") == rows(expected)
    assert responses(tmp_path / "quickstart") == responses(expected)
