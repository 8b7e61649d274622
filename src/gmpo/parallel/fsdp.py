"""Sharding of parameters over ranks by FSDP2, and activation checkpointing."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from transformers import PreTrainedModel

from gmpo.compat import ATTENTION, GROUPED_PRODUCT
from gmpo.parallel.blocks import blocks_of
from gmpo.parallel.mesh import Mesh

aten = torch.ops.aten
KEPT = [  # by selective checkpointing: matrix products and attention; the cheap rest is recomputed
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    GROUPED_PRODUCT,
    *ATTENTION,
]


@dataclass(frozen=True)
class Sharding:
    """The placement of parameters, gradients, optimizer state and activations.

    offload: keep each rank's shard of the first three in CPU memory, where the optimizer works too; a block is on the
    GPU only while it computes. reshard_after_forward: reshard a block's parameters between forward and backward instead
    of keeping them gathered; a number keeps shards over that many ranks. reduce_gradients: "last" reduces over ranks in
    the last micro-batch of an optimizer step only (until then every rank keeps whole gradients), the others in each
    one: "shards" sums over the ranks of one copy of the parameters each time and over the copies at the end, "always"
    over all. checkpointing: of activations; "all" keeps only a block's input, "selective" also matrix products and
    attention (torch's own, not flash_attention_2).
    """

    offload: bool = False
    reshard_after_forward: bool | int = True
    reduce_gradients: Literal["last", "shards", "always"] = "last"
    checkpointing: Literal["none", "all", "selective"] = "none"

    def __post_init__(self) -> None:
        if not isinstance(self.offload, bool):
            raise ValueError(f"sharding.offload={self.offload} must be true or false")
        if not isinstance(self.reshard_after_forward, bool | int):
            raise ValueError(
                f"sharding.reshard_after_forward={self.reshard_after_forward} must be true, false or a number of ranks"
            )
        for name, value, allowed in (
            ("reduce_gradients", self.reduce_gradients, ("last", "shards", "always")),
            ("checkpointing", self.checkpointing, ("none", "all", "selective")),
        ):
            if value not in allowed:
                raise ValueError(f"sharding.{name}={value} must be one of {', '.join(allowed)}")

    def shard(self, module: nn.Module, mesh: Mesh, compute_dtype: torch.dtype, offload: bool | None = None) -> None:
        """Shard those of a module's parameters that are not sharded yet, in place: blocks first, then the model.

        compute_dtype: the dtype of the parameters in forward and backward; gradients are reduced in the dtype that the
        parameters are kept in. offload: overrides the setting.

        One rank with nothing to cast or offload keeps plain parameters: FSDP2 would copy them for each pass, which
        takes a tenth of an update of 1 M parameters.
        """
        kept_in = next(module.parameters()).dtype
        on_cpu = self.offload if offload is None else offload
        device = mesh.parameters.device_type
        if mesh.parameters.size() == 1 and compute_dtype == kept_in and not (on_cpu and device != "cpu"):
            module.to(device)
            return
        usual = self.reshard_after_forward is True  # FSDP2's default, which skips the outermost module
        fully_shard(
            module,
            mesh=mesh.parameters,
            reshard_after_forward=None if usual else self.reshard_after_forward,
            mp_policy=MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=kept_in)
            if compute_dtype != kept_in
            else MixedPrecisionPolicy(),
            offload_policy=CPUOffloadPolicy(pin_memory=torch.cuda.is_available()) if on_cpu else OffloadPolicy(),
        )

    def checkpoint_activations(self, model: PreTrainedModel) -> None:
        """Make blocks recompute activations in the backward pass instead of keeping them.

        transformers' own switch works only in training mode, which would enable dropout.
        """
        if self.checkpointing == "none":
            return
        settings: dict[str, Any] = {"use_reentrant": False}
        if self.checkpointing == "selective":
            settings["context_fn"] = partial(create_selective_checkpoint_contexts, KEPT)
        for block in blocks_of(model)[1]:
            block.forward = partial(checkpoint, block.forward, **settings)

    def before_backward(self, model: nn.Module, is_last: bool) -> None:
        """Set which gradients are reduced over ranks after the next micro-batch."""
        if isinstance(model, FSDPModule):
            model.set_requires_gradient_sync(is_last or self.reduce_gradients != "last")
            model.set_requires_all_reduce(is_last or self.reduce_gradients == "always")


def reshard(model: nn.Module) -> None:
    """Reshard all FSDP modules after a no-grad forward.

    FSDP2 leaves the outermost module gathered then, and blocks too where they are not resharded after forward.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
