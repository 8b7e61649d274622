"""Provide what benchmarks share: models, problems, and the config of a run on them."""

import json
import os
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from same_work import (
    GRADIENT_CLIP,
    GROUP_SIZE,
    LEARNING_RATE,
    MAX_PROMPT_TOKENS,
    MAX_TOKENS,
    MINI_BATCH_PROMPTS,
    PROMPTS,
    THREADS,
)

import gmpo.config  # noqa: F401  (what configs compute with)
from gmpo.data.arithmetic import make_problems
from gmpo.data.templates import CHAT, render
from gmpo.models.tiny import character_tokenizer

ROOT = Path(__file__).resolve().parents[1]
KINDS = ["2+2", "3+2", "3-2"]
PROBLEM_SEED = 7

SIZES: dict[str, list[str]] = {  # parameters: the quickstart's model, and one that knows the form of an answer alone
    "1m": [],
    "10m": [
        *("+model.make.hidden_size=384", "+model.make.layers=5", "+model.make.heads=6"),
        *("+model.make.learning_rate=1e-3", "+model.make.check_below_loss=0.5", "+model.make.target=0.0"),
    ],
}

QUIET = ["~callbacks.progress", "~callbacks.summary", "~callbacks.final_model"]  # useful only to a person


def make_model(size: str) -> str:
    """Return the folder of a model of this size; each is made once, in some two minutes."""
    cfg = composed(SIZES[size])
    return str(instantiate(cfg.model.make))


def write_problems(path: Path) -> None:
    """Write a line for each prompt of a rollout step: problem, prompt as the model reads it, its number as answer."""
    drawn = make_problems(KINDS, 4 * PROMPTS, "train", PROBLEM_SEED)
    questions = list(dict.fromkeys(problem.question for problem in drawn))[:PROMPTS]
    tokenizer = character_tokenizer()
    rows = [
        {"problem": question, "prompt": render(question, CHAT, tokenizer), "answer": str(number)}
        for number, question in enumerate(questions)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def same_work(folder: Path, size: str, problems: Path, *overrides: str) -> DictConfig:
    """Return the config of a run that makes the same rollout step again and again, written below `folder`."""
    return composed(
        [
            *("model=local", f"model.path={make_model(size)}", "data=files", f"data.path={problems}"),
            *(f"data.max_prompt_tokens={MAX_PROMPT_TOKENS}", f"sampling.max_tokens={MAX_TOKENS}"),
            *(f"batch.prompts={PROMPTS}", f"batch.group_size={GROUP_SIZE}"),
            *(f"batch.mini_batch_prompts={MINI_BATCH_PROMPTS}", f"optimizer.lr={LEARNING_RATE}"),
            *(f"policy.gradient_clip={GRADIENT_CLIP}", f"cluster.threads={THREADS[size]}"),
            *("run.steps=1000000", "run.validate_every=null", "checkpoint.every=1000000", "checkpoint.minutes=null"),
            *(f"run.root={folder}", "resume=never", *QUIET, *overrides),
        ]
    )


def composed(overrides: list[str]) -> DictConfig:
    """Return the quickstart's config of `train.py` with these overrides."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return compose(
            "train", ["experiment=quickstart", "run.name=bench", f"paths.models={ROOT / 'models'}", *overrides]
        )


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a measuring process: its threads sleep while they wait for work."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONWARNINGS": "ignore"}
