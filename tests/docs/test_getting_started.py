"""The path of docs/getting_started.md, gone from its beginning to its end with a small model."""

import json
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from pages import FEW_SUMS, blocks, commands, rows, run

pytestmark = pytest.mark.slow

COMMANDS = commands("getting_started.md")
SHELL = [line for _, text in blocks("getting_started.md") for line in text.splitlines() if line.startswith("printf")]
SMALL = (
    "rollout=transformers",
    "run.steps=2",
    "batch.prompts=4",
    "batch.mini_batch_prompts=2",
    "sampling.max_tokens=12",
    "data.validation_limit=4",
    "data.max_prompt_tokens=64",
    "cluster.threads=1",
)


def test_the_path_can_be_gone(tmp_path: Path, qwen2_folder: str) -> None:
    quickstart, read, grpo, plot, several, mine, model, evaluate = COMMANDS
    small = (*SMALL, f"model={qwen2_folder}")
    run(tmp_path, quickstart, *small, FEW_SUMS)
    assert "run=runs/quickstart" in read
    assert "step 2" in run(tmp_path, read)

    run(tmp_path, grpo, *small, FEW_SUMS)
    assert OmegaConf.load(tmp_path / "runs" / "grpo" / "config.yaml").objective._target_ == "gmpo.objectives.grpo.GRPO"
    run(tmp_path, plot)
    assert (tmp_path / "grpo.png").stat().st_size > 1000

    run(tmp_path, several, *small, FEW_SUMS)
    assert {path.name for path in (tmp_path / "runs").iterdir()} >= {"gmpo-0", "gmpo-1", "grpo-0", "grpo-1"}
    typed = OmegaConf.load(tmp_path / "runs" / "grpo-1" / "overrides.yaml")
    assert {"objective=grpo", "run.seed=1"} <= set(typed)
    log = (tmp_path / "runs" / "grpo-1" / "log.txt").read_text()
    assert log.count("step 2/2") == 1
    assert "run folder: runs/grpo-1" in log
    assert "job 4: experiment=quickstart objective=grpo run.seed=1" in log

    (tmp_path / "mine").mkdir()
    (line,) = SHELL
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True)
    run(tmp_path, mine, *small)
    problems = [json.loads(line) for line in (tmp_path / "mine" / "problems.jsonl").read_text().splitlines()]
    assert all(eval(p["problem"].replace("plus", "+")) == int(p["answer"]) for p in problems)
    assert len(problems) == 5
    assert "val/mine/mean@1" in rows(tmp_path / "runs" / "mine")[0]
    validated = (tmp_path / "runs" / "mine" / "rollouts" / "validation.jsonl").read_text().splitlines()
    assert len(validated) == 2 * 2  # held out; before and after

    gsm8k = json.dumps({"question": "Ann has 3 pens and buys 4. How many has she?", "answer": "3+4=7\n#### 7"})
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(f"{gsm8k}\n")
    own = model.replace("FOLDER_OR_HUB_ID", qwen2_folder)
    small_model = ("rollout=transformers", "sampling.max_tokens=12", "cluster.threads=1")
    run(tmp_path, own, *small_model, "data.path=train.jsonl", "data.max_prompt_tokens=256")
    assert rows(tmp_path / "runs" / "first")[-1]["reward/no_answer"] == 2 * 4

    said = run(tmp_path, evaluate, "rollout=transformers", "data.max_prompt_tokens=64", "data.limit=4")
    assert "mean@8" in said
    assert (tmp_path / "runs" / "evaluations").is_dir()
