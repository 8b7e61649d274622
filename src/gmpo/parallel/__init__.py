"""Ranks: their mesh, sharded parameters, split sequences, and objects that travel between them."""

from gmpo.parallel.blocks import blocks_of
from gmpo.parallel.exchange import exchange, gather, gather_lists, rank, world_size
from gmpo.parallel.fsdp import Sharding, reshard
from gmpo.parallel.mesh import Mesh
from gmpo.parallel.strategy import MeshStrategy, join, leave

__all__ = [
    "Mesh",
    "MeshStrategy",
    "Sharding",
    "blocks_of",
    "exchange",
    "gather",
    "gather_lists",
    "join",
    "leave",
    "rank",
    "reshard",
    "world_size",
]
