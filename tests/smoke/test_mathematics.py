"""Training on real notation: problems from files, the math verifier, benchmarks, a sum of rewards."""

import csv
import json
import math
from pathlib import Path

import psutil
import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from gmpo.config import check
from gmpo.training import prepare

pytestmark = pytest.mark.slow
HALVES = [{"problem": f"What is $\\frac{{{n}}}{{2}}$?", "answer": f"\\frac{{{n}}}{{2}}"} for n in range(1, 33, 2)]
SMALL = [
    "experiment=quickstart",
    *("run.name=run", "run.steps=2", "run.validate_every=2", "batch.prompts=4", "batch.mini_batch_prompts=4"),
    *("batch.group_size=4", "sampling.max_tokens=12", "data.max_prompt_tokens=200", "rollout=transformers"),
    *("cluster.threads=1", "model=local", "optimizer.lr=2e-2"),
]


def composed(folder: Path, model: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", [*SMALL, f"run.root={folder}", f"model.path={model}", *overrides])
    check(cfg)
    return cfg


def trained(folder: Path, model: str, *overrides: str) -> list[dict[str, float]]:
    """The rows of metrics.csv, the validation before training first."""
    assert prepare(composed(folder, model, *overrides)).run() is None
    with (folder / "run" / "metrics.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


@pytest.fixture
def halves(tmp_path: Path) -> str:
    path = tmp_path / "halves.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in HALVES))
    return str(path)


def test_a_users_file_the_verifier_and_two_benchmarks(tmp_path: Path, qwen2_folder: str, halves: str) -> None:
    data = ("data=files", f"data.path={halves}", "data.template=qwen_math")
    benchmarks = ("benchmark=[aime24,amc23]", f"benchmark.aime24.path={halves}", f"benchmark.amc23.path={halves}")
    limits = ("data.validation_limit=3", "validation.samples=2")
    rows = trained(tmp_path, qwen2_folder, *data, "reward=math", *benchmarks, *limits)
    for step in (0, 2):
        for name in ("mean@2", "pass@2", "maj@2", "truncated_fraction", "response_length"):
            assert f"val/aime24/{name}" in rows[step]
            assert f"val/amc23/{name}" in rows[step]
    assert rows[1]["reward/no_answer"] == 16, "a random model boxes nothing"
    assert rows[1]["reward/checks_timed_out"] == 0
    record = [json.loads(line) for line in (tmp_path / "run" / "rollouts" / "train.jsonl").read_text().splitlines()]
    assert "put your final answer within \\boxed{}" in record[0]["prompt"]
    assert record[0]["final_answer"] == ""
    assert {row["answer"] for row in record} <= {row["answer"] for row in HALVES}
    assert not [p for p in psutil.Process().children(recursive=True) if "check_server" in " ".join(p.cmdline())]


def test_right_answers_are_found_by_the_workers(tmp_path: Path, qwen2_folder: str) -> None:
    """A random model hits a digit now and then; that it is the root of a square, a worker has to find out."""
    path = tmp_path / "roots.jsonl"
    rows = [{"problem": f"Which digit? {n}", "answer": f"\\sqrt{{{n % 10 * (n % 10)}}}"} for n in range(16)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = ("data=files", f"data.path={path}", "reward=math_lenient", "sampling.max_tokens=60", "batch.group_size=16")
    rows_of_metrics = trained(tmp_path, qwen2_folder, *data, "run.validate_every=null", "run.steps=1")
    assert 0 < rows_of_metrics[0]["reward/mean"] < 0.5
    record = [json.loads(line) for line in (tmp_path / "run" / "rollouts" / "train.jsonl").read_text().splitlines()]
    for row in record:
        right = row["final_answer"] == str(math.isqrt(int(row["answer"][6:-1])))
        assert row["reward"] == right, row


def test_a_sum_of_rewards_is_logged_by_name(tmp_path: Path, qwen2_folder: str, halves: str) -> None:
    data = ("data=files", f"data.path={halves}", "data.held_out=4")
    form = ("reward=math_and_format", "reward.rewards.format.markers=[a]", "reward.rewards.format.ends=false")
    form += ("sampling.max_tokens=100",)  # of a random model: some hold one "a"
    rows = trained(tmp_path, qwen2_folder, *data, *form, "reward.weights.format=0.5")
    for row in rows[1:]:
        assert row["reward/mean"] == pytest.approx(row["reward/math"] + 0.5 * row["reward/format"])
    assert 0 < rows[1]["reward/format"] < 1
    assert rows[0]["val/files/mean@1"] == 0, "validation goes by the verifier alone"


def test_a_data_set_without_validation_problems_says_so_before_training(
    tmp_path: Path, qwen2_folder: str, halves: str
) -> None:
    data = ("data=files", f"data.path={halves}", "reward=math")
    with pytest.raises(ValueError, match=r"no validation problems.*data\.held_out"):
        prepare(composed(tmp_path, qwen2_folder, *data))
    rows = trained(tmp_path, qwen2_folder, *data, "run.validate_every=null")
    assert [row["rollout_step"] for row in rows] == [1, 2]
