"""The part of the vLLM engine that runs where vLLM keeps its model."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from vllm.model_executor.layers.fused_moe.fused_moe_method_base import FusedMoEMethodBase


class WeightLoading:
    """A mixin of vLLM's worker class, added by name (`worker_extension_cls`)."""

    def load_policy(self, weights: Iterator[tuple[str, Tensor]]) -> None:
        """Replace all weights, named as in the checkpoint format."""
        if not torch.cuda.is_available():
            self._forget_packed_experts()
        self.reload_weights(weights_iterator=weights)  # type: ignore[attr-defined]

    def take_classes(self, moved: Mapping[type, type]) -> None:
        """Turn modules of these classes into ones of their subclasses: see `decorated_classes_restored`."""
        model: nn.Module = self.get_model()  # type: ignore[attr-defined]
        for module in model.modules():
            module.__class__ = moved.get(type(module), type(module))

    def _forget_packed_experts(self) -> None:
        """Make the CPU build pack the experts again: it skips a mixture-of-experts layer packed before."""
        model: nn.Module = self.get_model()  # type: ignore[attr-defined]
        for module in model.modules():
            if isinstance(module, FusedMoEMethodBase):
                module.moe_kernel = None
