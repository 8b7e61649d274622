"""The sizes of a language model from its config.json. Arithmetic only, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EXPERTS = ("num_experts", "num_local_experts")  # in published configs, and as written by transformers 5
KNOWN = ("qwen2", "qwen3", "qwen3_moe", "llama", "mistral")


@dataclass(frozen=True)
class ModelShape:
    """A decoder of equal blocks with grouped-query attention and a gated feed-forward part, dense or of experts.

    Parameter counts are exact; tests compare them with the real classes.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int  # of one expert where there are experts
    vocabulary: int
    tied: bool  # the head's weight is the embedding's
    experts: int = 0  # 0: dense
    experts_per_token: int = 0
    qkv_bias: bool = False
    qk_norm: bool = False
    positions: int | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ModelShape:
        """Read the sizes from config.json. Raises ValueError for unknown architectures, or a config without sizes."""
        kind = config.get("model_type")
        if kind not in KNOWN:
            raise ValueError(f"the sizes of model_type={kind} are not known here, only those of {', '.join(KNOWN)}")
        if config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
            raise ValueError("blocks of this model differ: some have experts and others not, which is not counted here")
        try:
            hidden, heads = config["hidden_size"], config["num_attention_heads"]
            of_experts = kind == "qwen3_moe"
            return cls(
                hidden,
                config["num_hidden_layers"],
                heads,
                config.get("num_key_value_heads") or heads,
                config.get("head_dim") or hidden // heads,
                config["moe_intermediate_size" if of_experts else "intermediate_size"],
                config["vocab_size"],
                bool(config.get("tie_word_embeddings", False)),
                _experts(config) if of_experts else 0,
                config["num_experts_per_tok"] if of_experts else 0,
                qkv_bias=kind == "qwen2",
                qk_norm=kind.startswith("qwen3"),
                positions=config.get("max_position_embeddings"),
            )
        except KeyError as error:
            raise ValueError(f"the config of this {kind} has no {error}") from error

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the keys, or of the values, of all key/value heads."""
        return self.kv_heads * self.head_dim

    @property
    def expert(self) -> int:
        """Parameters of one expert, or of a dense feed-forward part."""
        return 3 * self.hidden * self.intermediate

    @property
    def attention(self) -> int:
        """Parameters of one block's attention, its norms included."""
        projections = self.hidden * (2 * self.query_width + 2 * self.kv_width)
        bias = self.query_width + 2 * self.kv_width if self.qkv_bias else 0
        return projections + bias + (2 * self.head_dim if self.qk_norm else 0)

    @property
    def block(self) -> int:
        """Parameters of one block."""
        router = self.hidden * self.experts
        return self.attention + max(self.experts, 1) * self.expert + router + 2 * self.hidden

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, or of the head."""
        return self.vocabulary * self.hidden

    @property
    def root(self) -> int:
        """Parameters outside the blocks."""
        return self.embedding * (1 if self.tied else 2) + self.hidden

    @property
    def parameters(self) -> int:
        """All parameters; a tied weight counts once."""
        return self.layers * self.block + self.root

    @property
    def active_parameters(self) -> int:
        """Parameters that a token is multiplied with: no embedding, which is looked up, and no inactive experts."""
        idle = (self.experts - self.experts_per_token) * self.expert if self.experts else 0
        return self.layers * (self.block - idle) + self.embedding

    @property
    def largest(self) -> int:
        """Parameters of the largest single weight, as transformers holds it: all experts of a block in one."""
        return max(self.embedding, max(self.experts, 1) * self.hidden * self.intermediate * (2 if self.experts else 1))


def _experts(config: Mapping[str, Any]) -> int:
    return next((config[name] for name in EXPERTS if name in config), None) or config[EXPERTS[0]]
