"""The part of the vLLM engine that runs where vLLM keeps its model."""

from collections.abc import Iterator

from torch import Tensor, nn


class WeightLoading:
    """Mixed into vLLM's process-side class by name (`worker_extension_cls`)."""

    def load_policy(self, weights: Iterator[tuple[str, Tensor]]) -> None:
        """Replace all weights, in the names of the checkpoint format."""
        self._forget_packed_experts()
        self.reload_weights(weights_iterator=weights)  # type: ignore[attr-defined]

    def _forget_packed_experts(self) -> None:
        """Make the CPU build pack the experts again: it skips a mixture-of-experts layer packed before."""
        model: nn.Module = self.get_model()  # type: ignore[attr-defined]
        for module in model.modules():
            method = vars(module).get("quant_method")
            if method is not None and "moe_kernel" in vars(method):
                method.moe_kernel = None
