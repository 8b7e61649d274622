"""Random models of any architecture that transformers has, small enough to train in a second."""

from pathlib import Path
from typing import Any

import torch
from conftest import save
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

WIDTHS = ("hidden_size", "n_embd", "d_model", "intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "context_length", "max_sequence_length")
SIZES: dict[str, Any] = {  # by the names that configs of transformers use; heads of 32, the least that vLLM serves
    "vocab_size": 260,
    **dict.fromkeys(WIDTHS, 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 2),
    "num_key_value_heads": 1,
    **dict.fromkeys(("head_dim", "attention_head_dim"), 32),
    **dict.fromkeys(POSITIONS, 512),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size", "shared_expert_intermediate_size"), 32),
    "word_embed_proj_dim": 64,
    "n_group": 1,
    "topk_group": 1,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
LATENT = {  # of attention over a latent key/value, whose head_dim is that of RoPE
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "head_dim"), 16),
    "v_head_dim": 32,
    "num_key_value_heads": 2,
}


def tiny_config(model_type: str, **values: Any) -> PreTrainedConfig:
    """A config of two small layers; values: what is special about it."""
    kind = CONFIG_MAPPING[model_type]
    usual = kind()
    known = usual.to_dict().keys() | set(kind.attribute_map)
    wanted = SIZES | (LATENT if "qk_rope_head_dim" in known else {})
    sizes = {name: value for name, value in wanted.items() if name in known}
    return kind(**{name: value for name, value in sizes.items() if kind.attribute_map.get(name) not in sizes} | values)


def tiny_model(model_type: str, **values: Any) -> PreTrainedModel:
    """A random model of this architecture."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(tiny_config(model_type, **values))


def tiny_folder(folder: Path, model_type: str, **values: Any) -> str:
    """The same in the Hugging Face format, with a tokenizer."""
    return save(tiny_model(model_type, **values), folder)
