"""Device meshes of the ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from gmpo.parallel.layout import Layout

DATA_PARALLEL, CONTEXT_PARALLEL = "data_parallel", "context_parallel"  # the first is Lightning's own name
REPLICATE, SHARD = "dp_replicate", "dp_shard_cp"


@dataclass(frozen=True)
class Mesh:
    """Two meshes of the same ranks: by the sequences that they train, and by the parameters that they hold."""

    layout: Layout
    sequences: DeviceMesh  # data_parallel x context_parallel
    parameters: DeviceMesh  # dp_replicate x dp_shard_cp; one-dimensional where there is one copy

    @classmethod
    def of(cls, layout: Layout, device_type: str) -> Mesh:
        """Make the mesh and its process groups; collective."""
        sequences = init_device_mesh(
            device_type, (layout.data_parallel, layout.cp), mesh_dim_names=(DATA_PARALLEL, CONTEXT_PARALLEL)
        )
        copies = init_device_mesh(
            device_type, (layout.dp_replicate, layout.fsdp_shard), mesh_dim_names=(REPLICATE, SHARD)
        )
        return cls(layout, sequences, copies if layout.dp_replicate > 1 else copies[SHARD])

    @property
    def data_parallel_group(self) -> ProcessGroup:
        """One rank of each data-parallel group: together they train every sequence once."""
        return self.sequences.get_group(DATA_PARALLEL)

    @property
    def device(self) -> torch.device:
        """This rank's device."""
        kind = self.parameters.device_type
        return torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)

    @property
    def context_parallel_group(self) -> ProcessGroup | None:
        """The ranks that share this rank's sequences; None where it shares them with none."""
        return self.sequences.get_group(CONTEXT_PARALLEL) if self.layout.cp > 1 else None
