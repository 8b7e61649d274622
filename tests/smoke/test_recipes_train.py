"""Each recipe's own config on two ranks with real vLLM and invented problems.

What differs: a small model of the same architecture, lengths and batch scaled down, cluster=cpu2 and where things lie.
"""

import csv
import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import forked
import pytest
from conftest import ROOT
from datasets import Dataset, load_dataset
from guessing_model import make_guessing_model
from omegaconf import OmegaConf
from transformers import AutoTokenizer

from gmpo.data.templates import TEMPLATES

FILES = ROOT / "tests" / "data" / "files"
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.distributed,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]
SMALL = (
    *("cluster=cpu2", "run.steps=2", "run.validate_every=2", "data.validation_limit=4", "optimizer.lr=1e-3"),
    *("batch.group_size=4", "sampling.max_tokens=24", "reward.processes=1"),
)
DAPO = (
    *("batch.prompts=16", "batch.mini_batch_prompts=1", "rollout.engine.tensor_parallel=2", "overlong.buffer=12"),
    "data.max_prompt_tokens=520",  # the model has 512 positions, and they are raised
    *("batch.max_tokens_per_micro_batch=600", "batch.max_tokens_per_log_prob_batch=900"),
    "validation.samples=2",
)
MATH = (
    *("batch.prompts=8", "batch.mini_batch_prompts=2", "data.max_prompt_tokens=400"),
    "batch.max_tokens_per_micro_batch=3000",
)
BENCHMARKS = {"aime24": "aime24", "amc23": "amc23", "math500": "math500", "minerva": "amc23", "olympiadbench": "aime24"}


def one_digit(rows: Dataset, answer: Callable[[dict[str, Any]], str]) -> Dataset:
    """Problems that a guess of a digit solves now and then, so that there is something to learn from."""
    return rows.filter(lambda row: re.fullmatch(r"\d", answer(row)) is not None)


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gsm8k.jsonl, math.jsonl, dapo.parquet and aime.parquet, in the columns that the recipes' data sets have."""
    folder = tmp_path_factory.mktemp("problems")

    def read(path: str) -> Dataset:
        kind = "parquet" if path.endswith("parquet") else "json"
        return load_dataset(kind, data_files=str(FILES / path), split="train", cache_dir=str(folder / "cache"))

    gsm8k = one_digit(read("gsm8k/train.jsonl"), lambda row: row["answer"].rpartition("#### ")[2])
    gsm8k.to_json(folder / "gsm8k.jsonl")
    one_digit(read("math500/test.jsonl"), lambda row: row["answer"]).to_json(folder / "math.jsonl")
    dapo = one_digit(read("dapo_math_schema/train.parquet"), lambda row: row["reward_model"]["ground_truth"])
    dapo.to_parquet(folder / "dapo.parquet")
    wrapping = OmegaConf.load(ROOT / "configs" / "data" / "dapo_math_17k.yaml").unwrap
    aime = [
        {
            "prompt": [{"role": "user", "content": f"{wrapping.prefix}{row['problem']}{wrapping.suffix}"}],
            "reward_model": {"ground_truth": row["answer"]},
        }
        for row in map(json.loads, first_lines("aime24", 8))
    ]
    Dataset.from_list(aime * 2).to_parquet(folder / "aime.parquet")
    return folder


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_guessing_model("qwen2", tmp_path_factory.mktemp("qwen2"))


def trained(experiment: str, model: str, folder: Path, *overrides: str) -> list[dict[str, float]]:
    """The rows of metrics.csv, the validation before training first."""
    arguments = [f"experiment={experiment}", *SMALL, f"model.path={model}", f"run.root={folder}", *overrides]
    done = forked.run("train.py", *arguments, ranks=2)
    assert done.returncode == 0, done.stderr[-3000:]
    with (folder / experiment / "metrics.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    assert [row["rollout_step"] for row in rows] == [0, 1, 2]
    assert max(row["rollout/log_prob_gap"] for row in rows[1:]) < 1e-4, "weights reach the engine"
    assert all(0 < row["reward/mean"] < 1 for row in rows[1:])
    assert sum(row["policy/grad_norm"] for row in rows[1:]) > 0
    return rows


def first_lines(benchmark: str, count: int) -> list[str]:
    return (FILES / benchmark / "test.jsonl").read_text().splitlines()[:count]


def test_qwen2_5_7b_math(tmp_path: Path, problems: Path, qwen2: str) -> None:
    files = [f"data.gsm8k.path={problems}/gsm8k.jsonl", f"data.gsm8k.validation_path={FILES}/gsm8k/test.jsonl"]
    files += [f"data.math.path={problems}/math.jsonl", f"data.math.validation_path={FILES}/math500/test.jsonl"]
    columns = ["data.math.answer=answer", "data.math.result=whole"]
    rows = trained("qwen2_5_7b_math", qwen2, tmp_path, *MATH, *files, *columns)
    assert {"val/gsm8k/mean@1", "val/math/mean@1"} <= rows[2].keys()
    cfg = OmegaConf.load(tmp_path / "qwen2_5_7b_math" / "config.yaml")
    assert cfg.rollout.engine.tensor_parallel == 2, "one engine over both ranks"
    assert cfg.sharding.checkpointing == "all"


def test_gmpo_qwen2_5_math_7b(tmp_path: Path, problems: Path, qwen2: str) -> None:
    files = [f"data.path={problems}/math.jsonl", "data.levels=null", "data.answer=answer", "data.result=whole"]
    files += [f"benchmark.{name}.path={FILES}/{folder}/test.jsonl" for name, folder in BENCHMARKS.items()]
    files += [f"benchmark.{name}.answer=answer" for name in BENCHMARKS]
    rows = trained("gmpo_qwen2_5_math_7b", qwen2, tmp_path, *MATH, *files, "rollout.engine.tensor_parallel=1")
    assert {f"val/{name}/mean@1" for name in BENCHMARKS} <= rows[2].keys()
    record = tmp_path / "gmpo_qwen2_5_math_7b" / "rollouts" / "validation.jsonl"
    shown = [json.loads(line)["prompt"] for line in record.read_text().splitlines()[:2]]
    problems_of = [json.loads(line)["problem"] for file in ("aime24", "amc23") for line in first_lines(file, 4)]
    prompts = [TEMPLATES["qwen_math"].replace("{question}", problem) for problem in problems_of]
    assert shown == [prompt for prompt in prompts if len(prompt.encode()) <= 400][:2], "in order, of two engines"
    assert [row["policy/learning_rate"] for row in rows[1:]] == pytest.approx([1e-3, 1e-3]), "constant"


def test_dapo_qwen2_5_7b(tmp_path: Path, problems: Path, qwen2: str) -> None:
    files = [f"data.path={problems}/dapo.parquet", f"benchmark.aime24_dapo.path={problems}/aime.parquet"]
    rows = trained(
        "dapo_qwen2_5_7b", qwen2, tmp_path, *DAPO, *files, "cluster.cp=2", "callbacks.rollout_table.groups=16"
    )
    run = tmp_path / "dapo_qwen2_5_7b"
    assert rows[2]["policy/learning_rate"] == pytest.approx(1e-3 * (0.1 + 0.9 * 32 / 160)), "32 updates of a warm-up"
    assert json.loads((run / "model" / "config.json").read_text())["max_position_embeddings"] == 32768
    validated = [json.loads(line) for line in (run / "rollouts" / "validation.jsonl").read_text().splitlines()]
    last = [row for row in validated if row["rollout_step"] == 2]
    assert len(last) == 2 * len({row["prompt"] for row in last}) == 8, "two responses each to 4 of 8 problems"
    prompts = {json.loads(line)["prompt"] for line in (run / "rollouts" / "train.jsonl").read_text().splitlines()}
    asked = prompts | {row["prompt"] for row in last}
    assert all(prompt.endswith('after "Answer:".<|assistant|>') for prompt in asked), "training and validation alike"
    assert any(not prompt.startswith("<|user|>") for prompt in prompts), "the longer ones are cut off on the left"


def test_dapo_qwen3_30b(tmp_path: Path, problems: Path) -> None:
    model = make_guessing_model("qwen3_moe", tmp_path / "model")
    files = [f"data.path={problems}/dapo.parquet", f"benchmark.aime24_dapo.path={problems}/aime.parquet"]
    rows = trained("dapo_qwen3_30b", model, tmp_path, *DAPO, *files)
    assert "val/aime24_dapo/mean@2" in rows[2]
    cfg = OmegaConf.load(tmp_path / "dapo_qwen3_30b" / "config.yaml")
    assert (cfg.sharding.offload, cfg.sharding.reduce_gradients, cfg.checkpoint.asynchronous) == (True, "shards", True)
    assert (cfg.objective.clip_low, cfg.objective.clip_high) == (0.4, 0.4)


def test_qwen3_8b_math(tmp_path: Path, problems: Path) -> None:
    model = make_guessing_model("qwen3", tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = (
        "{% if not enable_thinking | default(true) %}/no_think {% endif %}" + tokenizer.chat_template
    )
    tokenizer.save_pretrained(model)
    files = [f"data.gsm8k.path={problems}/gsm8k.jsonl", f"data.gsm8k.validation_path={FILES}/gsm8k/test.jsonl"]
    files += [f"data.math.path={problems}/math.jsonl", f"data.math.validation_path={FILES}/math500/test.jsonl"]
    columns = ["data.math.answer=answer", "data.math.result=whole"]
    rows = trained("qwen3_8b_math", model, tmp_path, *MATH, *files, *columns)
    assert {"val/gsm8k/mean@1", "val/math/mean@1"} <= rows[2].keys()
    assert "policy/kl_ref" in rows[2], "a reference is loaded"
    lines = (tmp_path / "qwen3_8b_math" / "rollouts" / "train.jsonl").read_text().splitlines()
    asked = {json.loads(line)["prompt"] for line in lines}
    assert all(prompt.startswith("/no_think ") and "within \\boxed{}." in prompt for prompt in asked)


def test_qwen2_5_0_5b_gsm8k(tmp_path: Path, problems: Path, qwen2: str) -> None:
    files = [f"data.path={problems}/gsm8k.jsonl", f"data.validation_path={FILES}/gsm8k/test.jsonl"]
    rows = trained("qwen2_5_0_5b_gsm8k", qwen2, tmp_path, *MATH, *files)
    assert "val/gsm8k/mean@1" in rows[2]
