"""Parameters by arithmetic against the real classes, and shares of them against FSDP2's."""

import pytest
import torch
from conftest import ROOT, SMALL
from omegaconf import OmegaConf
from tracked_training import no_process_group  # noqa: F401  (a fixture)
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from gmpo.models import tiny
from gmpo.models.shape import ModelShape
from gmpo.parallel.layout import Layout
from gmpo.planning.memory import GIB, KEPT
from gmpo.planning.sharded import sharded

PUBLISHED = {
    "qwen2_5_math_7b": 7_615_616_512,
    "qwen3_30b_a3b_base": 30_532_122_624,
    "qwen2_5_0_5b_instruct": 494_032_768,
}
WIDTHS = SMALL | {"vocab_size": 260, "intermediate_size": 96}
KINDS = {
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 32, "tie_word_embeddings": False},
    "qwen3_moe": {"head_dim": 32, "moe_intermediate_size": 48, "num_experts": 8, "num_experts_per_tok": 2},
    "llama": {"num_key_value_heads": 2},
    "mistral": {},
}


def shape_of(name: str) -> dict:
    shape = OmegaConf.to_container(OmegaConf.load(ROOT / "configs" / "model" / f"{name}.yaml").shape)
    assert isinstance(shape, dict)
    return {key: value for key, value in shape.items() if key != "of"}


def whole(config: PreTrainedConfig) -> int:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_is_counted_as_its_class_is(kind: str) -> None:
    config = AutoConfig.for_model(kind, **WIDTHS | KINDS[kind])
    shape = ModelShape.of(config.to_dict())
    assert shape.parameters == whole(config)
    assert sharded(config.to_dict(), Layout.of(1)).block == shape.block


@pytest.mark.parametrize("name", PUBLISHED)
def test_models_of_the_recipes_have_their_published_parameters(name: str) -> None:
    assert ModelShape.of(shape_of(name)).parameters == PUBLISHED[name]


def test_a_token_meets_its_experts_alone() -> None:
    shape = ModelShape.of(shape_of("qwen3_30b_a3b_base"))
    idle = 48 * 120 * 3 * 2048 * 768
    assert shape.active_parameters == shape.parameters - idle - shape.embedding - shape.hidden
    assert 3.0e9 < shape.active_parameters < 3.4e9, "A3B"


def test_the_tiny_model_is_as_its_config_says() -> None:
    settings = tiny.TinyModel(kinds=["2+2"], seed=0)
    real = tiny._untrained(settings, tiny.character_tokenizer()).config.to_dict()
    for key, value in shape_of("tiny").items():
        assert real[key] == value, key


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model_type=gpt2 are not known here, only those of qwen2"):
        ModelShape.of({"model_type": "gpt2"})
    with pytest.raises(ValueError, match=r"the config of this qwen2 has no 'num_hidden_layers'"):
        ModelShape.of({"model_type": "qwen2", "hidden_size": 8, "num_attention_heads": 2})
    with pytest.raises(ValueError, match=r"some have experts and others not"):
        ModelShape.of(shape_of("qwen3_30b_a3b_base") | {"mlp_only_layers": [0]})


@pytest.mark.parametrize(
    ("name", "layout", "gib"),
    [
        ("qwen3_30b_a3b_base", Layout.of(64), 1.777),
        ("qwen3_30b_a3b_base", Layout.of(64, 2, None, 4), 3.554),
        ("qwen2_5_math_7b", Layout.of(64, 2, None, 4), 0.887),
        ("qwen2_5_math_7b", Layout.of(6), 4.731),
    ],
)
def test_shares_of_real_models(name: str, layout: Layout, gib: float) -> None:
    found, shape = sharded(shape_of(name), layout), ModelShape.of(shape_of(name))
    assert found.own * KEPT / GIB == pytest.approx(gib, abs=1e-3)
    assert (found.block, found.root, found.layers) == (shape.block, shape.root, shape.layers)
    assert found.whole == shape.parameters
    divided = shape.parameters / layout.fsdp_shard
    assert found.own > divided if layout.fsdp_shard == 6 else found.own == divided, "FSDP2 pads what 6 do not divide"
