"""Loading of a model's weights, sharded over the ranks of a mesh."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.distributed import ProcessGroup
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers import __version__ as transformers_version

from gmpo.batching import Cost
from gmpo.compat import config_value
from gmpo.models.blockwise import load_blockwise, without_weights
from gmpo.models.files import check_trainable, reason
from gmpo.models.log_prob_head import linear_head
from gmpo.models.self_check import Probe, check_head, check_log_probs
from gmpo.parallel.collectives import gather
from gmpo.parallel.context_parallel import FLASH, PACKING, SDPA, VARLEN, attention_name
from gmpo.parallel.fsdp import Sharding
from gmpo.parallel.layout import kv_repeats
from gmpo.parallel.mesh import Mesh
from gmpo.run.errors import ModelError

EXPERTS = ".experts."  # in the name of every parameter of a mixture's experts
AUTO = "auto"
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Pretrained:
    """The location of a model, and how it computes.

    path: a folder or hub id in the Hugging Face format. dtype: of forward and backward, by torch's name; parameters are
    kept in float32 or wider. attention: sdpa, varlen, flash_attention_2, or auto, which is varlen in half precision on
    a GPU and sdpa elsewhere. experts: transformers' name of the experts implementation of a mixture; by default grouped
    matrix products. trust_remote_code: whether code that comes with the model may run. overrides: values of its
    config.json to replace. longest: tokens of the longest possible sequence of the run, in training or validation; None
    if unknown.
    """

    path: str
    dtype: str = "float32"
    attention: str = AUTO
    experts: str | None = None
    sharding: Sharding = field(default_factory=Sharding)
    trust_remote_code: bool = False
    overrides: Mapping[str, object] = field(default_factory=dict)
    longest: int | None = None

    @property
    def compute_dtype(self) -> torch.dtype:
        """Data type of forward and backward."""
        return DTYPES[self.dtype]

    @property
    def resolved_attention(self) -> str:
        """The attention, with auto resolved."""
        if self.attention != AUTO:
            return self.attention
        return VARLEN if torch.cuda.is_available() and self.compute_dtype in HALF else SDPA

    @property
    def packed(self) -> bool:
        """Whether sequences are packed into one row, instead of padded in rows of their own."""
        return self.resolved_attention in PACKING

    def load(self, mesh: Mesh | None, offload: bool | None = None, checked: bool = False) -> PreTrainedModel:
        """Return the causal language model in evaluation mode, sharded where there is a mesh.

        Collective. offload: see `Sharding`. checked: the same model was loaded and checked before. Raises ModelError,
        on all ranks, where it cannot be loaded, or training would not compute its own log-probs.
        """
        model, fault = self._loaded(mesh, offload)
        faults = [other for other in gather(fault) if other is not None]
        if model is None or faults:
            raise ModelError(faults[0])
        if not checked:
            group = None if mesh is None else mesh.context_parallel_group
            device = next(model.parameters()).device if mesh is None else mesh.device
            check_log_probs(Probe(model, self.packed, group, device, self.compute_dtype, self.longest), self.path)
        return model

    def _loaded(self, mesh: Mesh | None, offload: bool | None) -> tuple[PreTrainedModel | None, str | None]:
        """Return the model, or an error message."""
        kept_in = torch.promote_types(self.compute_dtype, torch.float32)
        try:
            self.check(1 if mesh is None else mesh.layout.cp)
            group = None if mesh is None else mesh.context_parallel_group
            settings = self._settings(group) | dict(self.overrides)
            if mesh is None:
                return AutoModelForCausalLM.from_pretrained(self.path, dtype=kept_in, **settings).eval(), None

            def shard(module: nn.Module) -> None:
                self.sharding.shard(module, mesh, self.compute_dtype, offload)

            return load_blockwise(self.path, kept_in, shard, **settings), None
        except (OSError, ValueError) as error:
            return None, str(error)

    def _settings(self, group: ProcessGroup | None) -> dict[str, object]:
        settings: dict[str, object] = {
            "attn_implementation": attention_name(self.resolved_attention, group),
            "trust_remote_code": self.trust_remote_code,
        }
        if self.experts is not None:  # a model without experts refuses the argument
            settings["experts_implementation"] = self.experts
        return settings

    def check(self, cp: int) -> None:
        """Raise ValueError where the model cannot be trained over cp ranks; reads its config alone.

        Its architecture is built without weights (in half precision, where grouped products of experts have shapes): it
        must have blocks, and a plain head whose logits are not changed afterwards.
        """
        config = self._config()
        self.refuse_what_cannot_be(config, cp)
        model = without_weights(config, self.path, torch.bfloat16, **self._settings(None))
        linear_head(model)
        check_head(model, self.path)

    def _config(self) -> PreTrainedConfig:
        try:
            config, unknown = AutoConfig.from_pretrained(
                self.path, trust_remote_code=self.trust_remote_code, return_unused_kwargs=True, **self.overrides
            )
        except Exception as error:  # a config's class may raise anything
            raise ValueError(
                f"model.path={self.path} has a config.json that transformers {transformers_version} does not take "
                f"({reason(error)}): see model_type and the values in it, or model.overrides"
            ) from error
        if unknown:
            raise ValueError(
                f"model.overrides names {', '.join(sorted(unknown))}, which {self.path} does not have in its config"
            )
        check_trainable(config.to_dict(), self.path)
        return config

    def refuse_what_cannot_be(self, config: PreTrainedConfig, cp: int) -> None:
        """Raise ValueError where cp does not divide the heads, or attention does not support the model's window."""
        if torch.cuda.is_available() and self.packed and self.compute_dtype not in HALF:
            raise ValueError(
                f"model.attention={self.resolved_attention} computes in half precision on a GPU, not in cluster.dtype="
                f"{self.dtype}: choose cluster.dtype=bfloat16, or model.attention={SDPA}"
            )
        if cp > 1:
            heads = config_value(config, "num_attention_heads")
            if not isinstance(heads, int):
                raise ValueError(
                    f"cluster.cp={cp} splits sequences by attention heads, which model.path={self.path} does not have: "
                    "choose cluster.cp=1"
                )
            kv_repeats(heads, config_value(config, "num_key_value_heads") or heads, cp)
        own_attention = self.resolved_attention == VARLEN or (self.resolved_attention == SDPA and cp > 1)
        if own_attention and config_value(config, "sliding_window") is not None:
            raise ValueError(
                f"model.path={self.path} attends to a sliding window of {config.sliding_window} tokens, which "
                f"model.attention={self.resolved_attention} with cluster.cp={cp} does not know: choose model.attention="
                f"{FLASH}, or {SDPA} with cluster.cp=1"
            )


def cost_of(model: PreTrainedModel) -> Cost:
    """Return the multiplications of a sequence: of each token with its active parameters and with earlier tokens."""
    config = model.config
    met = sum(_is_active(name, parameter, config) for name, parameter in model.named_parameters())
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    if head is not embedding:
        met -= embedding.numel()  # it is only looked up
    heads = config_value(config, "num_attention_heads")
    if not isinstance(heads, int):
        return Cost(linear=met, quadratic=0)
    head_dim = config.to_dict().get("head_dim")  # only some models have one, and in some it differs by layer
    width = heads * (head_dim or config.hidden_size // heads)
    return Cost(linear=met, quadratic=config.num_hidden_layers * width)  # scores and averages over half of all pairs


def _is_active(name: str, parameter: nn.Parameter, config: PreTrainedConfig) -> float:
    """Return the active fraction of a parameter: of experts in one tensor, those that a token is routed to."""
    chosen = config_value(config, "num_experts_per_tok")
    stacked = EXPERTS in name and parameter.dim() == 3 and isinstance(chosen, int)
    share = min(1.0, chosen / parameter.shape[0]) if stacked else 1.0
    return parameter.numel() * share
