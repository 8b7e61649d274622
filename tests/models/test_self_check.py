"""A loaded model's log-probs are its own and those of a sequence alone, or it is refused by what makes them others."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ENVIRONMENT
from small_training import fit, groups, module
from tiny_models import tiny_config, tiny_folder
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from gmpo.batching import pad_sequences, sequences_of
from gmpo.models.blockwise import without_weights
from gmpo.models.log_probs import response_log_probs
from gmpo.models.pretrained import Pretrained
from gmpo.models.self_check import Probe, check_head, check_log_probs
from gmpo.parallel.fsdp import Sharding
from gmpo.run.errors import ModelError

LONGROPE = {
    "sliding_window": None,
    "original_max_position_embeddings": 32,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 16,
        "long_factor": [4.0] * 16,
        "original_max_position_embeddings": 32,
        "factor": 4.0,
    },
}


def scaled(rope_type: str, **values: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": rope_type, "rope_theta": 10000.0, "factor": 4.0, **values}}


LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


def loaded(path: str, attention: str = "sdpa", dtype: str = "float32", longest: int | None = 512) -> PreTrainedModel:
    return Pretrained(path, dtype, attention, longest=longest).load(None)


@pytest.mark.parametrize(
    ("model_type", "values"),
    [
        ("llama", {"attention_dropout": 0.5}),
        ("seed_oss", {"attention_dropout": 0.3, "residual_dropout": 0.3}),
        ("falcon", {"hidden_dropout": 0.3, "attention_dropout": 0.3}),
        ("phi", {"resid_pdrop": 0.3, "embd_pdrop": 0.3}),
        ("gpt2", {"attn_pdrop": 0.3, "resid_pdrop": 0.3}),
        ("gpt_neox", {"hidden_dropout": 0.3, "attention_dropout": 0.3}),
        ("opt", {"dropout": 0.3}),
    ],
)
def test_dropout_of_a_config_is_off(tmp_path: Path, model_type: str, values: dict[str, Any]) -> None:
    path = tiny_folder(tmp_path / "model", model_type, **values)
    policy = fit(module(path, dtype="float32"))
    assert policy.model is not None
    assert not any(part.training for part in policy.model.modules()), "not after training either"
    batch = pad_sequences(sequences_of(groups()), pad_token_id=0)
    with torch.no_grad():
        one, other = (response_log_probs(policy.model, batch, 1.0)[0][batch.mask] for _ in range(2))
        plain = AutoModelForCausalLM.from_pretrained(path)
        expected = response_log_probs(plain.eval(), batch, 1.0)[0][batch.mask]
        before = response_log_probs(loaded(path), batch, 1.0)[0][batch.mask]
    assert torch.equal(one, other)
    torch.testing.assert_close(before, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "varlen"])
@pytest.mark.parametrize(
    ("model_type", "values"),
    [
        ("llama", {}),
        ("llama", scaled("yarn", original_max_position_embeddings=128)),
        ("llama", scaled("linear")),
        ("llama", scaled("llama3", **LLAMA3)),
        ("llama", scaled("dynamic")),  # no sequence is longer than it was trained with
        ("mixtral", {"head_dim": None, "sliding_window": None}),
        ("qwen3_moe", {}),
        ("olmo2", {}),
        ("glm", {}),
        ("gpt2", {}),
        ("gpt_neox", {}),
        ("opt", {}),
        ("granite", {"logits_scaling": 1.0}),
        ("starcoder2", {"sliding_window": None}),
    ],
)
def test_models_that_train(tmp_path: Path, model_type: str, values: dict[str, Any], attention: str) -> None:
    path = tiny_folder(tmp_path / "model", model_type, **values)
    policy = module(path, dtype="float32", attention=attention)
    policy.pretrained = replace(policy.pretrained, longest=512)
    model = fit(policy).model
    assert policy.state.policy_version == 1
    assert model is not None
    assert model.config._attn_implementation == attention
    assert "forward" not in vars(model.get_output_embeddings())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("model_type", "values"),
    [
        ("falcon_h1", {"lm_head_multiplier": 0.5}),
        ("recurrent_gemma", {"logits_soft_cap": 30.0}),
        ("granite", {"logits_scaling": 8.0}),
        ("cohere", {"logit_scale": 0.0625}),
        ("cohere2", {"logit_scale": 0.25}),
        ("gemma2", {"final_logit_softcapping": 30.0}),
        ("hyperclovax", {"logits_scaling": 4.0}),
    ],
)
def test_logits_that_are_changed_after_the_head(
    tmp_path: Path, model_type: str, values: dict[str, Any], dtype: str
) -> None:
    path = tiny_folder(tmp_path / "model", model_type, initializer_range=0.02, **values)
    with pytest.raises(ValueError, match=r"model changes its logits after its head.*move by up to .* take another mod"):
        loaded(path, dtype=dtype)


@pytest.mark.parametrize(("model_type", "values"), [("gemma2", {}), ("granite", {"logits_scaling": 8.0})])
def test_most_of_them_are_refused_before_a_weight_is_read(model_type: str, values: dict[str, Any]) -> None:
    model = without_weights(tiny_config(model_type, **values), "a/model", torch.bfloat16)
    with pytest.raises(ValueError, match=r"model.path=a/model changes its logits after its head"):
        check_head(model, "a/model")
    check_head(without_weights(tiny_config("llama"), "a/model", torch.bfloat16), "a/model")


@pytest.mark.parametrize("attention", ["sdpa", "varlen"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("model_type", "values", "kind"),
    [
        ("phi3", LONGROPE, "longrope"),
        ("llama", {"max_position_embeddings": 64} | scaled("dynamic"), "dynamic"),
        ("qwen2", {"max_position_embeddings": 64} | scaled("dynamic"), "dynamic"),
        ("llama", {key: LONGROPE[key] for key in ("rope_parameters",)}, "longrope"),
    ],
)
def test_rope_that_depends_on_the_longest_position(
    tmp_path: Path, model_type: str, values: dict[str, Any], kind: str, dtype: str, attention: str
) -> None:
    path = tiny_folder(tmp_path / "model", model_type, **values)
    loaded(path, attention, dtype, longest=32)
    with pytest.raises(ModelError, match=rf"longest sequence of the pass is of 100 tokens.*rope_type={kind}.*lower"):
        loaded(path, attention, dtype, longest=100)


def test_an_encoder(tmp_path: Path) -> None:
    path = tiny_folder(tmp_path / "model", "bert")
    with pytest.raises(ModelError, match=r"where a later one is another \(BertLMHeadModel\): it is not causal"):
        loaded(path)
    with pytest.raises(ModelError, match=r"other log-probs by its own logits than training computes"):
        loaded(path, "varlen")


@pytest.mark.slow
def test_a_state_that_runs_on_into_the_next_sequence_of_a_row(tmp_path: Path) -> None:
    path = tiny_folder(tmp_path / "model", "falcon_h1", lm_head_multiplier=1.0)
    loaded(path)
    with pytest.raises(ModelError, match=r"with other sequences or padding in the micro-batch.*model.attention=sdpa"):
        loaded(path, "varlen")


def probe_of(path: str, edit: Callable[[PreTrainedModel], None]) -> Probe:
    """Of a model whose code was changed, as code of its own may do anything."""
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    edit(model)
    return Probe(model, False, None, torch.device("cpu"), torch.float32, 512)


def always_dropping(model: PreTrainedModel) -> None:
    norm = model.model.norm
    usual = norm.forward
    norm.forward = lambda hidden: nn.functional.dropout(usual(hidden), 0.1, training=True)


def beside(model: PreTrainedModel) -> None:
    """Normalise over the rows of a batch."""
    norm = model.model.norm
    usual = norm.forward
    norm.forward = lambda hidden: usual(hidden + hidden.mean(dim=(0, 1)).detach())


def own_head(model: PreTrainedModel) -> None:
    """Leave out the module that the model names as its head."""
    usual = model.forward

    def forward(**inputs: Any) -> Any:
        output = usual(**inputs)
        return replace(output, logits=output.logits * 2)

    model.forward = forward


def not_finite(model: PreTrainedModel) -> None:
    model.model.layers[1].mlp.up_proj.weight.data[0, 0] = float("nan")


def raising(model: PreTrainedModel) -> None:
    def forward(hidden: Tensor) -> Tensor:
        raise KeyError("cache_position")

    model.model.norm.forward = forward


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (always_dropping, r"other log-probs in each pass \(by up to .* nats\), as dropout does"),
        (beside, r"a/model gives a token another log-prob .* where a later one is another"),
        (own_head, r"a/model changes its logits after its head"),
        (not_finite, r"a/model: the model's logits are not finite: its weights hold NaN"),
        (raising, r"a/model cannot compute log-probs as training does \(KeyError: 'cache_position'\): take another"),
    ],
)
def test_code_of_its_own(qwen3_folder: str, edit: Callable[[PreTrainedModel], None], said: str) -> None:
    right = probe_of(qwen3_folder, lambda model: None)
    before = torch.get_rng_state()
    check_log_probs(right, "a/model")
    assert torch.equal(torch.get_rng_state(), before), "an exact resume draws the same numbers"
    with pytest.raises(ValueError, match=said):
        check_log_probs(probe_of(qwen3_folder, edit), "a/model")


@pytest.mark.parametrize("checkpointing", ["all", "selective"])
def test_activations_are_checkpointed_in_evaluation_mode(qwen3_folder: str, checkpointing: str) -> None:
    """transformers does so in training mode alone."""
    model = loaded(qwen3_folder)
    Sharding(checkpointing=checkpointing).checkpoint_activations(model)  # type: ignore[arg-type]
    passes = []
    model.model.layers[1].post_attention_layernorm.register_forward_hook(lambda *_: passes.append(1))
    model(torch.arange(4, 24).view(1, 20), use_cache=False).logits.sum().backward()
    assert len(passes) == 2, "once more in the backward pass"


@pytest.mark.distributed
def test_ranks_that_share_sequences_say_the_same(tmp_path: Path) -> None:
    """A state that is not handed on between ranks, and RoPE that one of them chooses for itself."""
    longrope = tiny_folder(tmp_path / "longrope", "phi3", num_key_value_heads=2, **LONGROPE)
    folders = [tiny_folder(tmp_path / name, name, num_key_value_heads=2) for name in ("qwen3_moe", "jamba")]
    script = Path(__file__).with_name("self_check_ranks.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [*command, *folders, longrope], env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=True
    )
    right, _, state, state_in_half, position, position_in_half = done.stdout.strip().splitlines()
    assert right == "1 loaded"
    for said in (state, state_in_half):
        assert said.startswith("1 model.path=")
        assert "with other sequences or padding" in said
        assert said.endswith("choose cluster.cp=1")
    for said in (position, position_in_half):
        assert said.startswith("1 model.path=")
        assert "longest sequence of the pass is of 100 tokens" in said
