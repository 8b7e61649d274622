"""Lightning's model-parallel strategy over this project's mesh."""

from datetime import timedelta

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import FSDPModule

from gmpo.layout import Layout
from gmpo.parallel.mesh import Mesh

GPU_BACKENDS = "cpu:gloo,cuda:nccl"  # Python objects, and what is offloaded, travel between CPUs


class MeshStrategy(ModelParallelStrategy):
    """FSDP2 over dp_replicate x dp_shard x cp ranks (see `Layout`); dp_shard=None takes all that are left.

    timeout: seconds that a rank waits for all others before the run ends with an error. It has to outlast the
    difference between the fastest and the slowest rank's generation. Collectives of fewer ranks have torch's default.
    """

    def __init__(
        self, dp_replicate: int = 1, dp_shard: int | None = None, cp: int = 1, timeout: float = 1800.0
    ) -> None:
        super().__init__(data_parallel_size=1, tensor_parallel_size=1, timeout=timedelta(seconds=timeout))
        self.sizes = (dp_replicate, dp_shard, cp)
        self.mesh: Mesh | None = None

    def setup_environment(self) -> None:
        """Join the other ranks, then arrange them.

        Where Lightning's own method would make a mesh of data x tensor, this makes `Mesh`: nothing else differs.
        """
        self._setup_distributed()
        self.mesh = Mesh.of(Layout.of(self.world_size, *self.sizes), self.root_device.type)
        self._device_mesh = self.mesh.sequences
        assert self.lightning_module is not None
        self.lightning_module._device_mesh = self._device_mesh

    def model_to_device(self) -> None:
        """Move what FSDP does not manage: it has put parameters where they belong, which may be the CPU."""
        module = self.lightning_module
        assert module is not None
        for child in module.children():
            if not any(isinstance(part, FSDPModule) for part in child.modules()):
                child.to(self.root_device)
        module._device = self.root_device  # as LightningModule.to() would say

    def _get_process_group_backend(self) -> str:
        return GPU_BACKENDS if self.root_device.type == "cuda" else super()._get_process_group_backend()


def join(rank: int, world_size: int, address: str | None, timeout: float, gpu: int | None) -> None:
    """Make the process group as Lightning would, but before it, where a launcher started all ranks.

    address: host:port of rank 0; None where the launcher left that in the environment. gpu: this process's, if any.
    """
    torch.distributed.init_process_group(
        "gloo" if gpu is None else GPU_BACKENDS,
        device_id=None if gpu is None else torch.device("cuda", gpu),
        init_method=None if address is None else f"tcp://{address}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=timeout),
    )


def leave() -> None:
    """Part from the other ranks, when all are done.

    A rank that ends while gloo's threads still work on a collective may abort on the way out, with a wrong exit code.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
