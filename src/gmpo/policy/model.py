"""Loading a model's weights, sharded over the ranks of a mesh."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from gmpo.batching import Cost
from gmpo.layout import kv_repeats
from gmpo.parallel import Mesh, Sharding
from gmpo.parallel.context_parallel import FLASH, PACKING, SDPA, VARLEN, attention_name
from gmpo.policy.head import linear_head
from gmpo.policy.loading import load_blockwise

EXPERTS = ".experts."  # in the name of every parameter of a mixture's experts
AUTO = "auto"
AFTER_THE_HEAD = ("logits_scaling", "logit_scale", "final_logit_softcapping")  # of Granite, Cohere, Gemma
HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from and how it computes.

    path: a folder or hub id in the Hugging Face format. dtype: of forward and backward, as torch names it; parameters
    are kept in float32 or wider. attention: sdpa, varlen, flash_attention_2, or auto, which is varlen in half
    precision on a GPU and sdpa elsewhere. experts: how a mixture of experts is computed, as transformers names it; by
    default in grouped products of matrices. trust_remote_code: whether code that comes with the model may run.
    overrides: values of its config.json to replace.
    """

    path: str
    dtype: str = "float32"
    attention: str = AUTO
    experts: str | None = None
    sharding: Sharding = field(default_factory=Sharding)
    trust_remote_code: bool = False
    overrides: Mapping[str, object] = field(default_factory=dict)

    @property
    def compute_dtype(self) -> torch.dtype:
        """Of forward and backward."""
        return getattr(torch, self.dtype)

    @property
    def resolved_attention(self) -> str:
        """The attention that auto stands for."""
        if self.attention != AUTO:
            return self.attention
        return VARLEN if torch.cuda.is_available() and self.compute_dtype in HALF else SDPA

    @property
    def packed(self) -> bool:
        """Whether sequences stand one after the other in a row, instead of padded in rows of their own."""
        return self.resolved_attention in PACKING

    def load(self, mesh: Mesh | None, offload: bool | None = None) -> PreTrainedModel:
        """The causal language model in training mode, sharded where there is a mesh; see `Sharding` for offload.

        Raises ValueError where it is none that can be trained; its head must be plain.
        """
        self.check(1 if mesh is None else mesh.layout.cp)
        group = None if mesh is None else mesh.context_parallel_group
        settings: dict[str, object] = {
            "attn_implementation": attention_name(self.resolved_attention, group),
            "trust_remote_code": self.trust_remote_code,
            **self.overrides,
        }
        if self.experts is not None:  # a model without experts refuses the word
            settings["experts_implementation"] = self.experts
        kept_in = torch.promote_types(self.compute_dtype, torch.float32)
        if mesh is None:
            model = AutoModelForCausalLM.from_pretrained(self.path, dtype=kept_in, **settings).train()
        else:

            def shard(module: nn.Module) -> None:
                self.sharding.shard(module, mesh, self.compute_dtype, offload)

            model = load_blockwise(self.path, kept_in, shard, **settings)
        linear_head(model)
        return model

    def check(self, cp: int) -> None:
        """Raise ValueError where the model cannot be trained over cp ranks; reads its config alone."""
        config, unknown = AutoConfig.from_pretrained(
            self.path, trust_remote_code=self.trust_remote_code, return_unused_kwargs=True, **self.overrides
        )
        if unknown:
            raise ValueError(
                f"model.overrides names {', '.join(sorted(unknown))}, which {self.path} does not have in its config"
            )
        self.refuse_what_cannot_be(config, cp)

    def refuse_what_cannot_be(self, config: PreTrainedConfig, cp: int) -> None:
        """Raise ValueError where heads cannot be divided over cp ranks, or attention does not know a model's window."""
        if torch.cuda.is_available() and self.packed and self.compute_dtype not in HALF:
            raise ValueError(
                f"model.attention={self.resolved_attention} computes in half precision on a GPU, not in cluster.dtype="
                f"{self.dtype}: choose cluster.dtype=bfloat16, or model.attention={SDPA}"
            )
        kv_repeats(config.num_attention_heads, config.num_key_value_heads, cp)
        for name in AFTER_THE_HEAD:
            if getattr(config, name, None) not in (None, 1):  # a key of some models alone
                raise ValueError(
                    f"model.path={self.path} changes its logits by {name}={getattr(config, name)}, which is not known "
                    "where log-probs are computed from its head: take another model"
                )
        own_attention = self.resolved_attention == VARLEN or (self.resolved_attention == SDPA and cp > 1)
        if own_attention and getattr(config, "sliding_window", None) is not None:  # a key of some models alone
            raise ValueError(
                f"model.path={self.path} attends to a sliding window of {config.sliding_window} tokens, which "
                f"model.attention={self.resolved_attention} with cluster.cp={cp} does not know: choose model.attention="
                f"{FLASH}, or {SDPA} with cluster.cp=1"
            )


def cost_of(model: PreTrainedModel) -> Cost:
    """Multiplications of a sequence: each token with the parameters that it meets, and with the tokens before it."""
    config = model.config
    share = config.num_experts_per_tok / config.num_experts if hasattr(config, "num_experts") else 1.0
    met = sum(p.numel() * (share if EXPERTS in name else 1.0) for name, p in model.named_parameters())
    if not config.tie_word_embeddings:
        met -= config.vocab_size * config.hidden_size  # the embedding is looked up
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    return Cost(linear=met, quadratic=config.num_hidden_layers * width)  # scores and averages of half of all pairs
