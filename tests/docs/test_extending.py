"""The exercises of docs/extending.md, typed as they stand there: only sizes, model and engine are chosen here."""

import importlib
import json
import os
import re
import subprocess
import sys
from math import isfinite
from pathlib import Path

import pytest
from conftest import ENVIRONMENT
from omegaconf import OmegaConf
from pages import FEW_SUMS, commands, files, rows, words
from pages import run as run_command

from gmpo.rollout import Engine

pytestmark = pytest.mark.slow

FILES, COMMANDS = files("extending.md"), commands("extending.md")
RUN = (  # by each of the tests below
    *("--help", "-m pytest", "run.name=near_miss", "run.name=both", "run.name=remainders", "run.name=stopwatch"),
    "benchmark=remainders",
)
STEPS, PROMPTS, GROUP, VALIDATED = 2, 8, 4, 8
SMALL = (
    f"run.steps={STEPS}",
    "run.validate_every=2",
    f"batch.prompts={PROMPTS}",
    f"batch.group_size={GROUP}",
    "batch.mini_batch_prompts=4",
    "sampling.max_tokens=12",
    f"data.validation_limit={VALIDATED}",
    f"callbacks.rollout_table.groups={PROMPTS}",
    f"callbacks.rollout_table.validation_groups={VALIDATED}",
    "cluster.threads=1",
)

Record = dict[str, str | float]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's files are typed, and nothing else."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def typed(part: str) -> str:
    """The one command that has this part."""
    (command,) = [command for command in COMMANDS if part in command]
    return command


def run(project: Path, part: str, *sizes: str) -> str:
    return run_command(project, typed(part), *sizes)


def train(project: Path, name: str, model: str, *sizes: str, engine: str = "rollout=transformers") -> Path:
    """The folder of the run that the page's command with this name has made."""
    run(project, f"run.name={name}", *SMALL, f"model={model}", engine, *sizes)
    return project / "runs" / name


def records(folder: Path, purpose: str = "train") -> list[Record]:
    return [json.loads(line) for line in (folder / "rollouts" / f"{purpose}.jsonl").read_text().splitlines()]


def check_rewards(project: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reward is the page's class's, and the share of near misses is what the responses say."""
    monkeypatch.syspath_prepend(str(project / "mine"))
    reward = importlib.import_module("my_rewards").NearMiss()
    for step, row in enumerate(rows(folder)[1:], start=1):
        of_step = [record for record in records(folder) if record["rollout_step"] == step]
        assert len(of_step) == PROMPTS * GROUP
        rewards = reward.score([r["response"] for r in of_step], [r["answer"] for r in of_step])
        assert [record["reward"] for record in of_step] == rewards
        between = [value for value in rewards if 0 < value < 1]
        assert between
        assert row["reward/near_miss"] == pytest.approx(len(between) / len(of_step))
        assert row["reward/mean"] == pytest.approx(sum(rewards) / len(rewards))
    assert {record["reward"] for record in records(folder, "validation")} <= {0.0, 1.0}


def test_every_command_of_the_page_is_run() -> None:
    assert {typed(part) for part in RUN} == set(COMMANDS)
    assert all(command.startswith("PYTHONPATH=mine ") for command in COMMANDS)
    assert all(name.startswith("mine/") for name in FILES)


def test_the_files_are_choices_of_their_groups(project: Path) -> None:
    said = run(project, "--help")
    for group, choice in (("reward", "near_miss"), ("objective", "power_mean"), ("rollout", "stopwatch")):
        assert re.search(rf"^{group}: .*\b{choice}\b", said, re.MULTILINE)
    assert re.search(r"^data: .*\bremainders\b", said, re.MULTILINE)


def test_the_reward_gives_a_part_of_a_point(project: Path, qwen2_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_rewards(project, train(project, "near_miss", qwen2_folder, FEW_SUMS), monkeypatch)


def test_the_checks_of_the_objective_pass(project: Path) -> None:
    environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(["mine", ENVIRONMENT.get("PYTHONPATH", "")])}
    command = [sys.executable, *words(typed("-m pytest"))]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "3 passed" in done.stdout


def test_reward_and_objective_train_together(project: Path, qwen2_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = train(project, "both", qwen2_folder, FEW_SUMS, "optimizer.lr=2e-2")
    check_rewards(project, folder, monkeypatch)
    objective = OmegaConf.load(folder / "config.yaml").objective
    assert (objective._target_, objective.power) == ("my_objectives.PowerMean", 0.5)
    trained = rows(folder)[1:]
    assert len(trained) == STEPS
    assert all(isfinite(row["policy/loss"]) and row["policy/grad_norm"] > 0 for row in trained)
    assert all(row["policy/clip_fraction_high"] > 0 for row in trained)
    assert max(row["policy/log_ratio_max"] for row in trained) > 0.4


def test_the_data_set_is_trained_and_validated_on(project: Path, qwen2_folder: str) -> None:
    folder = train(project, "remainders", qwen2_folder)
    assert "val/remainders/mean@1" in rows(folder)[0]
    asked = {purpose: set[str]() for purpose in ("train", "validation")}
    for purpose, problems in asked.items():
        for record in records(folder, purpose):
            match = re.search(r"(\d+) mod (\d)", str(record["prompt"]))
            assert match is not None
            assert record["answer"] == str(int(match[1]) % int(match[2]))
            problems.add(match[0])
    assert len(asked["train"]) > PROMPTS
    assert len(asked["validation"]) == VALIDATED
    assert not asked["train"] & asked["validation"]


def test_the_data_set_is_a_benchmark(project: Path, qwen2_folder: str) -> None:
    sizes = (f"model={qwen2_folder}", "sampling.max_tokens=12", "data.max_prompt_tokens=64", f"data.limit={VALIDATED}")
    run(project, "benchmark=remainders", *sizes, "rollout=transformers")
    (results,) = (project / "runs" / "evaluations").glob("*/results.json")
    assert json.loads(results.read_text())["remainders"]["problems"] == VALIDATED


def test_the_engine_writes_down_every_generation(
    project: Path, qwen2_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(project, "stopwatch", qwen2_folder, FEW_SUMS, engine="rollout@rollout.inner=transformers")
    lines = [json.loads(line) for line in (folder / "stopwatch.jsonl").read_text().splitlines()]
    assert [line["responses"] for line in lines] == [VALIDATED, PROMPTS * GROUP, PROMPTS * GROUP, VALIDATED]
    assert [line["policy_version"] for line in lines] == [0, 0, 2, 4]
    lengths = [row["rollout/response_length"] for row in rows(folder)[1:]]
    assert [line["tokens"] for line in lines[1:3]] == [round(length * PROMPTS * GROUP) for length in lengths]
    assert all(0 < line["half"] <= line["all"] for line in lines)
    monkeypatch.syspath_prepend(str(project / "mine"))
    members = {name for name in (*vars(Engine), *Engine.__annotations__) if not name.startswith("_")}
    assert {"generate", "tensor_parallel", "policy_version"} < members
    assert all(hasattr(importlib.import_module("my_engines").Stopwatch, name) for name in members - {"tensor_parallel"})
