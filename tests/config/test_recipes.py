"""Every published figure against the composed config, one by one; and where docs/recipes.md says that it stands."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from composing import EXPERIMENTS, composed
from conftest import ROOT
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError

from gmpo.config import check_recipe
from gmpo.planning.fitting import complaints_of
from gmpo.planning.memory import shard_of
from gmpo.planning.recipe import Recipe

CLUSTERS = sorted(path.stem for path in (ROOT / "configs" / "cluster").glob("*.yaml"))
GMPO = {
    "objective.clip_low": 0.4,
    "objective.clip_high": 0.4,
    "optimizer.lr": 1e-6,
    "kl.coefficient": 0.0,
    "entropy.coefficient": 0.0,
    "sampling.temperature": 1.0,
}
DAPO = GMPO | {
    "data.dataset.name": "dapo_math_17k",
    "data.dataset.duplicates": "drop_conflicting",
    "benchmark.aime24_dapo.name": "aime24_dapo",
    "benchmark.aime24_dapo.hub_id": "BytedTsinghua-SIA/AIME-2024",
    "benchmark.aime24_dapo.question": "prompt",
    "benchmark.aime24_dapo.question_format": "chat",
    "benchmark.aime24_dapo.answer": "reward_model.ground_truth",
    "benchmark.aime24_dapo.duplicates": "drop",
    "batch.prompts": 512,
    "batch.group_size": 16,
    "batch.mini_batch_prompts": 32,
    "batch.max_tokens_per_micro_batch": 20480,
    "batch.max_tokens_per_log_prob_batch": 30720,
    "data.max_prompt_tokens": 2048,
    "data.long_prompts": "truncate",
    "sampling.max_tokens": 8192,
    "sampling.top_p": 1.0,
    "sampling.top_k": 0,
    "validation.samples": 32,
    "validation.temperature": 1.0,
    "validation.top_p": 0.7,
    "overlong.buffer": 4096,
    "overlong.factor": 1.0 / 2,  # of rewards 1 and 0; published is 1.0, of rewards 1 and -1
    "optimizer.weight_decay": 0.1,
    "schedule.total_iters": 10 * 16,
    "policy.gradient_clip": 1.0,
    "resume": "auto",
    "cluster.devices": 8,
    "cluster.nodes": 8,
    "cluster.dp_replicate": 2,
    "cluster.cp": 4,
    "sharding.offload": True,
    "policy.reference_on_cpu": True,
    "rollout.engine.tensor_parallel": 4,
    "rollout.engine.gpu_memory_utilization": 0.8,
    "rollout.engine.max_num_batched_tokens": 10240,
    "rollout.engine.max_num_seqs": 1024,
    "run.validate_every": 10,
    "checkpoint.every": 10,
    "callbacks.rollout_table.validation_groups": 10,
    "model.overrides.max_position_embeddings": 32768,
    "sharding.checkpointing": "all",
}
FIGURES: dict[str, dict[str, Any]] = {
    "qwen2_5_7b_math": GMPO
    | {
        "model.path": "Qwen/Qwen2.5-Math-7B",
        "data.dataset.name": "gsm8k_math",
        "batch.prompts": 1024,
        "batch.group_size": 5,
        "batch.mini_batch_prompts": 256,
        "batch.max_tokens_per_micro_batch": 16 * (1024 + 1024),
        "data.max_prompt_tokens": 1024,
        "data.long_prompts": "drop",
        "sampling.max_tokens": 1024,
        "sharding.checkpointing": "all",
        "sharding.offload": False,
        "kl.kind": "k3",
        "schedule.start_factor": 1.0,
        "policy.reference_on_cpu": True,
        "rollout.engine.tensor_parallel": 2,
        "rollout.engine.gpu_memory_utilization": 0.6,
        "run.validate_every": 5,
        "checkpoint.every": 20,
        "run.steps": 15 * (7473 + 7500) // 1024,
        "cluster.devices": 8,
        "cluster.nodes": 1,
    },
    "gmpo_qwen2_5_math_7b": GMPO
    | {
        "model.path": "Qwen/Qwen2.5-Math-7B",
        "data.dataset.name": "math_lvl3to5",
        "data.levels": [3, 4, 5],
        "data.template": "qwen_math",
        "batch.prompts": 128,
        "batch.group_size": 8,
        "batch.mini_batch_prompts": 128 // 8,
        "data.max_prompt_tokens": 1024,
        "sampling.max_tokens": 3000,
        "sampling.top_p": 1.0,
        "optimizer.betas": [0.9, 0.95],
        "optimizer.weight_decay": 0.0,
        "policy.gradient_clip": 1.0,
        "schedule.start_factor": 1.0,
        "sharding.checkpointing": "all",
        "rollout.engine.tensor_parallel": 1,
        "rollout.engine.gpu_memory_utilization": 0.35,
        "run.steps": 20 * 8523 // 128,
        "run.validate_every": 100,
        "checkpoint.every": 100,
        "cluster.devices": 8,
        "cluster.nodes": 1,
    },
    "dapo_qwen2_5_7b": DAPO | {"model.path": "Qwen/Qwen2.5-Math-7B", "run.steps": 200},
    "dapo_qwen3_30b": DAPO | {"model.path": "Qwen/Qwen3-30B-A3B-Base", "run.steps": 300},
    "qwen3_8b_math": GMPO
    | {
        "model.path": "Qwen/Qwen3-8B",
        "data.dataset.name": "gsm8k_math",
        "batch.prompts": 1024,
        "batch.group_size": 5,
        "batch.mini_batch_prompts": 256,
        "batch.max_tokens_per_micro_batch": 24576,
        "batch.max_tokens_per_log_prob_batch": 24576,
        "data.max_prompt_tokens": 1024,
        "data.long_prompts": "drop",
        "data.template": "chat",
        "data.chat_template_arguments": {"enable_thinking": False},
        "sampling.max_tokens": 2048,
        "validation.temperature": 0.0,
        "kl.coefficient": 0.001,
        "kl.kind": "k3",
        "kl.placement": "loss",
        "policy.reference_on_cpu": True,
        "schedule.start_factor": 1.0,
        "sharding.checkpointing": "all",
        "sharding.offload": False,
        "rollout.engine.tensor_parallel": 2,
        "rollout.engine.gpu_memory_utilization": 0.6,
        "rollout.engine.max_num_seqs": 1024,
        "run.validate_every": 5,
        "checkpoint.every": 20,
        "run.steps": 15 * (7473 + 7500) // 1024,
        "cluster.devices": 8,
        "cluster.nodes": 1,
    },
}
BENCHMARKS = {
    "gmpo_qwen2_5_math_7b": ["aime24", "amc23", "math500", "minerva", "olympiadbench"],
    "dapo_qwen2_5_7b": ["aime24_dapo"],
    "dapo_qwen3_30b": ["aime24_dapo"],
}
HELD_BY = {
    "quickstart": {"cpu", "cpu2", "1gpu", "8gpu", "64gpu"},
    "qwen2_5_0_5b_gsm8k": {"1gpu", "8gpu"},  # 14 heads go over no 4 ranks
    "qwen2_5_7b_math": {"8gpu", "64gpu"},
    "gmpo_qwen2_5_math_7b": {"8gpu", "64gpu"},
    "dapo_qwen2_5_7b": {"8gpu", "64gpu"},
    "dapo_qwen3_30b": {"64gpu"},
    "qwen3_8b_math": {"8gpu", "64gpu"},
}
LAPTOP_GIB = 16


def differences_of(cfg: DictConfig, figures: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    found = {key: OmegaConf.select(cfg, key) for key in figures}
    return {key: (found[key], figures[key]) for key in figures if found[key] != figures[key]}


@pytest.mark.parametrize("experiment", FIGURES)
def test_every_published_figure_is_in_the_composed_config(experiment: str) -> None:
    cfg = composed(f"experiment={experiment}")
    assert differences_of(cfg, FIGURES[experiment]) == {}
    assert list(cfg.benchmark) == BENCHMARKS.get(experiment, [])
    assert differences_of(composed(f"experiment={experiment}", "optimizer.lr=2e-6"), FIGURES[experiment])


def test_a_smaller_clip_range_for_mixtures_of_experts_is_told_in_the_file() -> None:
    text = (ROOT / "configs" / "experiment" / "dapo_qwen3_30b.yaml").read_text()
    assert "smaller clip range" in text
    assert "objective.clip_low" in text


def leaves(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def value_in(cfg: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(cfg, key)
    except InterpolationToMissingValueError:
        return None


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_holds_differences_only(experiment: str) -> None:
    """Each of its values differs from what its choices of groups, or the experiment that it goes out from, have."""
    own = OmegaConf.load(ROOT / "configs" / "experiment" / f"{experiment}.yaml")
    assert isinstance(own, DictConfig)
    base, groups = "~experiment", []
    for entry in own.pop("defaults", []):
        if isinstance(entry, DictConfig):
            ((group, choice),) = entry.items()
            choice = ",".join(choice) if isinstance(choice, ListConfig) else choice
            groups.append(f"{group.removeprefix('override /')}={f'[{choice}]' if ',' in choice else choice}")
        elif entry != "_self_":
            base = f"experiment={entry}"
    before, after = composed(base, *groups), composed(f"experiment={experiment}")
    for key in leaves(OmegaConf.to_container(own)):
        assert not key.startswith("cluster."), "what a cluster has would leak into another"
        assert value_in(before, key) != value_in(after, key), key


def refusal(cfg: DictConfig) -> str | None:
    try:
        check_recipe(cfg)
        recipe = Recipe.of(cfg)
    except ValueError as error:
        return str(error)
    return "; ".join(complaints_of(recipe, shard_of(recipe))) or None


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_on_every_cluster(experiment: str, cluster: str) -> None:
    """It composes, passes and fits, or is refused with one message that has the arithmetic."""
    laptop = [f"cluster.host_memory_gib={LAPTOP_GIB}"] if "cpu" in cluster else []
    said = refusal(composed(f"experiment={experiment}", f"cluster={cluster}", *laptop))
    assert (said is None) == (cluster in HELD_BY[experiment]), said
    if said is not None:
        assert re.search(r"\d+ .*\d", said)
        assert "\n" not in said


def sections() -> dict[str, list[tuple[str, Any]]]:
    """Of docs/recipes.md: experiment -> the keys and values of its table."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for section in (ROOT / "docs" / "recipes.md").read_text().split("\n## ")[1:]:
        name, _, body = section.partition("\n")
        rows = re.findall(r"^\|[^|]*\| `([\w.]+)` \| ([^|]*) \|$", body, re.MULTILINE)
        found[name] = [(key, yaml.safe_load(value)) for key, value in rows]
    return found


@pytest.mark.parametrize("experiment", FIGURES)
def test_the_page_maps_every_figure_to_its_key(experiment: str) -> None:
    cfg, pages = composed(f"experiment={experiment}"), sections()
    rows = pages[experiment]
    for key, value in rows:
        found = OmegaConf.select(cfg, key)
        assert found == (float(value) if isinstance(found, float) else value), key
    told = {key for key, _ in rows} | ({key for key, _ in pages["dapo_qwen2_5_7b"]} if "dapo" in experiment else set())
    assert set(FIGURES[experiment]) - told <= {"cluster.nodes"}
