"""The policy as it was before training: what a KL keeps it close to."""

import torch
from jaxtyping import Float
from torch import Tensor

from gmpo.models.log_probs import response_log_probs
from gmpo.models.pretrained import Pretrained
from gmpo.parallel.fsdp import reshard
from gmpo.parallel.mesh import Mesh
from gmpo.types import MicroBatch


class Reference:
    """A frozen model, sharded like the policy, and checked with it.

    Not a module, so that the LightningModule that holds it neither moves nor trains nor saves it. on_cpu: its shares
    live in CPU memory.
    """

    def __init__(self, pretrained: Pretrained, mesh: Mesh | None, on_cpu: bool) -> None:
        if on_cpu and mesh is None:
            raise ValueError(
                "policy.reference_on_cpu=true needs a strategy with a device mesh: without one nothing brings its "
                "blocks to the GPU"
            )
        self.packed = pretrained.packed
        self.cp_group = None if mesh is None else mesh.context_parallel_group
        self.model = pretrained.load(mesh, offload=on_cpu, checked=True).requires_grad_(False)

    @torch.no_grad()
    def log_probs(
        self, batch: MicroBatch, temperature: float, max_logits_per_chunk: int | None = None
    ) -> Float[Tensor, "B T"]:
        """As `response_log_probs`."""
        how = (self.packed, self.cp_group, max_logits_per_chunk)
        log_probs, _ = response_log_probs(self.model, batch, temperature, False, *how)
        reshard(self.model)
        return log_probs
