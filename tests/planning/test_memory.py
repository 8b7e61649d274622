"""The formulas for memory against torch's memory tracker, and against a real GPU where there is one."""

import pytest
import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from tracked_training import no_process_group, peak_gib  # noqa: F401  (a fixture)

from gmpo.models import weights
from gmpo.planning import memory
from gmpo.planning.memory import GIB
from gmpo.planning.recipe import Recipe
from gmpo.planning.speed import Lengths, step_seconds

RANKS, TOKENS = 8, 4096
NOT_ALLOCATED = ("process", "optimizer", "engine asleep")  # nothing of these is in the passes here
NOT_TRACKED = (*NOT_ALLOCATED, "in flight")  # nor is anything prefetched on a CPU
DENSE = {
    "model_type": "qwen2",
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 3,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
}
DEEP = DENSE | {"hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 1536, "num_hidden_layers": 8}
NORMED = DENSE | {"model_type": "qwen3", "head_dim": 64, "tie_word_embeddings": True}
EXPERTS = {
    **NORMED,
    "model_type": "qwen3_moe",
    "hidden_size": 512,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "moe_intermediate_size": 192,
    "num_experts": 32,
    "num_experts_per_tok": 8,
    "tie_word_embeddings": False,
}
WIDE = DENSE | {"hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28, "num_hidden_layers": 2}


def composed(shape: dict, *overrides: str) -> DictConfig:
    lengths = ("data.max_prompt_tokens=16", "sampling.max_tokens=64", f"cluster.devices={RANKS}")
    batch = ("batch.prompts=1024", "batch.mini_batch_prompts=1024", f"batch.max_tokens_per_micro_batch={TOKENS}")
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", ["experiment=qwen2_5_0_5b_gsm8k", "run.name=x", *lengths, *batch, *overrides])
    cfg.model.shape = shape
    return cfg


def planned(recipe: Recipe, phase: str, without: tuple[str, ...] = NOT_TRACKED) -> float:
    parts = memory.phases(recipe, memory.shard_of(recipe))[phase]
    return sum(size for part, size in parts.items() if part not in without)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "checkpointing", "reduce_gradients", "at_once"),
    [
        (DENSE, "none", "last", 2**24),
        (DEEP, "all", "last", 2**24),
        (DENSE, "selective", "shards", 2**24),
        (NORMED, "all", "shards", 2**24),
        (NORMED, "none", "shards", 2**27),
        (DENSE, "all", "always", 2**26),
        (EXPERTS, "none", "shards", 2**24),
        (EXPERTS, "all", "shards", 2**24),
        (EXPERTS, "selective", "last", 2**24),
        (WIDE, "all", "shards", 2**24),
    ],
)
def test_an_update_peaks_where_the_formulas_say(
    shape: dict, checkpointing: str, reduce_gradients: str, at_once: int
) -> None:
    sharding = (f"sharding.checkpointing={checkpointing}", f"sharding.reduce_gradients={reduce_gradients}")
    recipe = Recipe.of(composed(shape, *sharding, f"policy.max_logits_per_chunk={at_once}"))
    tracked = peak_gib(shape, TOKENS, RANKS, checkpointing, reduce_gradients, at_once, backward=True)
    assert planned(recipe, "update") == pytest.approx(tracked, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "at_once", "tokens"),
    [
        (DENSE, 2**24, TOKENS),
        (DEEP, 2**27, TOKENS),
        (NORMED, 2**22, TOKENS),
        (EXPERTS, 2**24, TOKENS),
        (WIDE, 2**22, 4 * TOKENS),  # with fewer, copying a gathered block is what peaks, which a GPU does not do so
    ],
)
def test_a_pass_for_log_probs_peaks_where_the_formulas_say(shape: dict, at_once: int, tokens: int) -> None:
    budget = f"batch.max_tokens_per_log_prob_batch={tokens}"
    recipe = Recipe.of(composed(shape, f"policy.max_logits_per_chunk={at_once}", budget))
    tracked = peak_gib(shape, tokens, RANKS, "none", "last", at_once, backward=False)
    assert planned(recipe, "log_probs") == pytest.approx(tracked, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "phase"), [(DENSE, "update"), (DEEP, "update"), (DENSE, "log_probs")])
def test_one_rank_in_float32_gathers_nothing(shape: dict, phase: str) -> None:
    budget = f"batch.max_tokens_per_log_prob_batch={TOKENS}"
    alone = ("cluster.devices=1", "cluster.dtype=float32", "model.attention=varlen", "sharding.checkpointing=none")
    recipe = Recipe.of(composed(shape, f"policy.max_logits_per_chunk={2**24}", budget, *alone))
    backward = phase == "update"
    tracked = peak_gib(shape, TOKENS, 1, "none", "last", 2**24, backward, torch.float32)
    assert planned(recipe, phase) == pytest.approx(tracked, rel=0.1)


def test_what_is_stated_twice_is_the_same() -> None:
    assert memory.BUCKET * GIB == weights.BUCKET


def test_keys_and_values_of_a_7b() -> None:
    """Of each token: 28 blocks, 4 heads of 128, keys and values, 2 bytes: 56 KiB; over 8 ranks a head each, twice."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", ["experiment=qwen2_5_7b_math", "run.name=x"])
    for ranks, bytes_each in ((1, 57344), (2, 28672), (4, 14336), (8, 14336)):
        cfg.rollout.engine.tensor_parallel = ranks
        assert memory.kv_bytes_per_token(Recipe.of(cfg)) == bytes_each
    cfg.rollout.engine.tensor_parallel = 2
    recipe = Recipe.of(cfg)
    held = memory.concurrent_sequences(recipe, 2048)
    assert held == int(memory.kv_cache(recipe) * GIB / (28672 * 2048))
    assert memory.kv_cache(recipe) < 0.6 * 80 - memory.engine_weights(recipe)


def test_sleep_frees_the_engine_and_offload_the_trainer() -> None:
    def parts(*overrides: str) -> dict[str, dict[str, float]]:
        recipe = Recipe.of(composed(DENSE, *overrides))
        return memory.phases(recipe, memory.shard_of(recipe))

    assert "KV cache" not in parts()["update"]
    assert parts("rollout.engine.enable_sleep_mode=false")["update"]["KV cache"] > 1
    assert "optimizer" in parts()["log_probs"]
    offloaded = parts("sharding.offload=true")
    assert all("optimizer" not in phase and "parameters" not in phase for phase in offloaded.values())
    assert memory.host(Recipe.of(composed(DENSE, "sharding.offload=true")), memory.Shard(1.0, 1, 1, 1))["optimizer"] > 0
    assert "reference" not in parts()["log_probs"]
    assert "reference" in parts("kl.coefficient=0.1")["log_probs"]
    assert "reference" not in parts("kl.coefficient=0.1", "policy.reference_on_cpu=true")["log_probs"]
    assert "reference" in parts("kl.coefficient=0.1", "sharding.offload=true")["log_probs"], "it has a key of its own"


def of_cpu(*overrides: str) -> Recipe:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return Recipe.of(compose("train", ["experiment=quickstart", "run.name=x", *overrides]))


def test_without_a_gpu_nothing_is_offloaded_to_nowhere() -> None:
    plain, offloaded = of_cpu(), of_cpu("sharding.offload=true", "policy.reference_on_cpu=true")
    shard = memory.shard_of(plain)
    assert memory.phases(plain, shard) == memory.phases(offloaded, shard)
    fullest = max(sum(parts.values()) for parts in memory.phases(plain, shard).values())
    assert sum(memory.host(plain, shard).values()) == pytest.approx(fullest)
    copied = memory.phases(of_cpu("checkpoint.asynchronous=true"), shard)["update"]
    assert copied["checkpoint"] == pytest.approx(3 * 4 * shard.own / GIB)


def test_the_engine_of_transformers_holds_a_batch_of_keys_and_values() -> None:
    recipe = of_cpu("rollout=transformers")
    assert memory.kv_cache(recipe) == 256 * (32 + 40) * memory.kv_bytes_per_token(recipe) / GIB
    parts = memory.phases(recipe, memory.shard_of(recipe))
    assert parts["generate"]["KV cache"] > 0
    assert "KV cache" not in parts["update"]
    assert "engine weights" in parts["update"], "it does not sleep"


def test_log_probs_of_the_engine_or_of_the_first_update_spare_a_pass() -> None:
    by_trainer, by_engine = of_cpu("policy.old_log_probs=trainer"), of_cpu("policy.old_log_probs=rollout")
    shard, lengths = memory.shard_of(by_trainer), Lengths(16, 24)
    assert step_seconds(by_trainer, shard, lengths)["log_probs"] > 0
    assert step_seconds(by_engine, shard, lengths)["log_probs"] == 0
    one_update = of_cpu("policy.old_log_probs=trainer", "batch.mini_batch_prompts=${batch.prompts}")
    assert step_seconds(one_update, shard, lengths)["log_probs"] == 0, "it is on-policy"


def test_an_engine_that_is_ahead_never_sleeps_and_costs_no_time_of_its_own() -> None:
    def plan_of(*overrides: str) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
        recipe = Recipe.of(composed(DENSE, "rollout=vllm", *overrides))
        shard = memory.shard_of(recipe)
        return memory.phases(recipe, shard), step_seconds(recipe, shard, Lengths(16, 24))

    ahead = ("rollout.async_steps=1", "rollout.first_gpu=0")
    (at_once, in_turn), (beside, together) = plan_of(), plan_of(*ahead)
    assert at_once["update"].keys() - beside["update"].keys() == {"engine asleep"}
    assert {"engine weights", "KV cache"} <= beside["update"].keys()
    assert in_turn["step"] == pytest.approx(sum(in_turn[phase] for phase in at_once))
    learn = together["log_probs"] + together["update"]
    assert together["step"] == pytest.approx(together["weight_sync"] + max(together["generate"], learn))
    (elsewhere, _) = plan_of("rollout.async_steps=1", "rollout.first_gpu=8")
    assert not any("engine" in part for phase in elsewhere.values() for part in phase)
