"""The policy before training, from which the KL is measured."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from gmpo.models.pretrained import Pretrained
from gmpo.parallel.fsdp import reshard
from gmpo.parallel.mesh import Mesh
from gmpo.policy.forward import Forward
from gmpo.types import MicroBatch


class Reference:
    """A frozen model, sharded like the policy, and checked with it.

    It is not a module, so that the LightningModule that holds it does not move, train or save it. forward: the
    policy's. on_cpu: its shards are kept in CPU memory.
    """

    def __init__(self, pretrained: Pretrained, forward: Forward, mesh: Mesh | None, on_cpu: bool) -> None:
        if on_cpu and mesh is None:
            raise ValueError(
                "policy.reference_on_cpu=true needs a strategy with a device mesh: without one nothing brings its "
                "blocks to the GPU"
            )
        self.model = pretrained.load(mesh, offload=on_cpu, checked=True).requires_grad_(False)
        self.forward = replace(forward, model=self.model)

    @torch.no_grad()
    def log_probs(self, batch: MicroBatch) -> Float[Tensor, "B T"]:
        """Return the log-probability of each response token."""
        log_probs, _ = self.forward(batch)
        reshard(self.model)
        return log_probs
