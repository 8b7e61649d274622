"""Lightning's model-parallel strategy over this project's mesh."""

from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule

from gmpo.checkpoint import storage
from gmpo.compat import set_device
from gmpo.parallel.layout import Layout
from gmpo.parallel.mesh import Mesh
from gmpo.run.errors import RunError

GPU_BACKENDS = "cpu:gloo,cuda:nccl"  # Python objects and offloaded tensors are exchanged between CPUs


@dataclass(frozen=True)
class Saving:
    """A checkpoint whose shards are being written, or written."""

    meta: storage.State  # the unsharded rest, not written yet
    future: Future[Metadata] | None  # None: written

    def done(self) -> bool:
        """Whether this rank has nothing left to write."""
        return self.future is None or self.future.done()


class MeshStrategy(ModelParallelStrategy):
    """FSDP2 over dp_replicate x dp_shard x cp ranks (see `Layout`); dp_shard=None takes all remaining ranks.

    timeout: seconds that a rank waits for all others before the run ends with an error. It must exceed the difference
    between the fastest and the slowest rank's generation. Collectives of fewer ranks have torch's default.
    """

    def __init__(
        self, dp_replicate: int = 1, dp_shard: int | None = None, cp: int = 1, timeout: float = 1800.0
    ) -> None:
        super().__init__(data_parallel_size=1, tensor_parallel_size=1, timeout=timedelta(seconds=timeout))
        self.sizes = (dp_replicate, dp_shard, cp)
        self.mesh: Mesh | None = None
        self.saving: Saving | None = None  # the newest checkpoint
        self._writers: dist.ProcessGroup | None = None

    def setup_environment(self) -> None:
        """Join the other ranks and build the mesh.

        Differs from Lightning's method only in building `Mesh` instead of a mesh of data x tensor.
        """
        self._setup_distributed()
        self.mesh = Mesh.of(Layout.of(self.world_size, *self.sizes), self.root_device.type)
        self._device_mesh = self.mesh.sequences
        assert self.lightning_module is not None
        self.lightning_module._device_mesh = self._device_mesh

    def model_to_device(self) -> None:
        """Move what FSDP does not manage: it has already placed parameters, perhaps on the CPU."""
        module = self.lightning_module
        assert module is not None
        for child in module.children():
            if not any(isinstance(part, FSDPModule) for part in child.modules()):
                child.to(self.root_device)
        set_device(module, self.root_device)

    def save_checkpoint(
        self, checkpoint: storage.State, filepath: str | Path, storage_options: bool | None = None
    ) -> None:
        """Write the shards of all ranks into the folder `filepath`, and the rest beside them.

        storage_options: None writes at once. Otherwise `saving` holds the rest, to be completed when the shards are
        written: true returns as soon as they are copied, false when they are written.
        """
        state = {"state_dict": checkpoint.pop("state_dict")}
        states = checkpoint.pop("optimizer_states", [])
        state |= {f"optimizer_{number}": optimizer_state for number, optimizer_state in enumerate(states)}
        if storage_options and self._writers is None:
            self._writers = dist.new_group(backend="gloo")
        future = storage.save(state, Path(filepath), bool(storage_options), self._writers)
        if storage_options is not None:
            self.saving = Saving(checkpoint, future)
        elif self.global_rank == 0:
            storage.complete(Path(filepath), checkpoint, None)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> storage.State:
        """Load weights and optimizer state into this rank's shards; return the rest. No code in it can run.

        The optimizer takes its moments and counts from the checkpoint; its settings (learning rate, betas, weight
        decay) stay those that it was built with.
        """
        folder = Path(checkpoint_path)
        assert self.model is not None
        weights = {"state_dict": get_model_state_dict(self.model)}
        storage.load(weights, folder)
        self.model.load_state_dict(weights["state_dict"])
        for number, optimizer in enumerate(self.optimizers):
            whole = get_optimizer_state_dict(self.model, optimizer)
            moments = {f"optimizer_{number}": {"state": whole["state"]}}
            if missing := storage.missing(moments, folder):
                raise RunError(
                    f"{folder} has no {missing[0]}, which the optimizer of this run keeps: resume with the optimizer's "
                    "settings that the checkpoint was saved with, or start anew with resume=never"
                )
            storage.load(moments, folder)
            set_optimizer_state_dict(
                self.model, optimizer, optim_state_dict=whole, options=StateDictOptions(cpu_offload=True)
            )
        return storage.load_meta(folder / storage.META)

    def _get_process_group_backend(self) -> str:
        return GPU_BACKENDS if self.root_device.type == "cuda" else super()._get_process_group_backend()


def join(rank: int, world_size: int, address: str | None, timeout: float, gpu: int | None) -> None:
    """Make the process group as Lightning would, but earlier, where a launcher started all ranks.

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
    """Leave the process group once all ranks are done.

    A rank that ends while gloo's threads still work on a collective may abort at exit, with a wrong exit code.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
