"""The benchmark runs, and finds no difference in the gradient."""

import re
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT


@pytest.mark.slow
def test_the_skip_changes_no_gradient(qwen2_folder: str) -> None:
    small = ["model=local", f"model.path={qwen2_folder}", "batch.prompts=8", "batch.mini_batch_prompts=4"]
    command = [sys.executable, str(ROOT / "benchmarks" / "zero_advantage.py"), *small, "cluster.threads=1"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^ratio +\d+\.\d+$", done.stdout, re.MULTILINE)
    found = re.search(r"largest element (\S+), largest difference (\S+) ", done.stdout)
    assert found
    assert float(found[2]) < 1e-12 < 1e-4 < float(found[1])
