"""The policy as it was before training: what a KL keeps it close to."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from gmpo.policy.log_probs import response_log_probs
from gmpo.policy.model import load_model, reshard, shard
from gmpo.types import MicroBatch


class Reference:
    """A frozen model, sharded like the policy.

    Not a module, so that the LightningModule that holds it neither moves nor trains nor saves it.
    """

    def __init__(self, path: str, dtype: str, attention: str, mesh: DeviceMesh | None, on_cpu: bool) -> None:
        if on_cpu and mesh is None:
            raise ValueError(
                "policy.reference_on_cpu=true needs a strategy with a device mesh: without one nothing brings its "
                "blocks to the GPU"
            )
        self.model = load_model(path, dtype, attention).eval().requires_grad_(False)
        if mesh is not None:
            shard(self.model, mesh, on_cpu)

    @torch.no_grad()
    def log_probs(self, batch: MicroBatch, temperature: float) -> Float[Tensor, "B T"]:
        """As `response_log_probs`."""
        log_probs, _ = response_log_probs(self.model, batch, temperature)
        reshard(self.model)
        return log_probs
