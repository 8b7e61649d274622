"""The place of this process among those of a run. Without torch, to be known before anything heavy is loaded."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from omegaconf import DictConfig

INTERACTIVE = ("bash", "interactive")  # names of Slurm jobs in which a person types, as in Lightning
SET_PARENT_DEATH_SIGNAL = 1  # prctl's number for it


@dataclass(frozen=True)
class Launch:
    """This process among those that torchrun, Slurm or Lightning started together."""

    rank: int
    local_rank: int
    world_size: int | None  # None where Lightning starts the processes: it takes cluster.devices
    nodes: int | None
    by: str  # torchrun, Slurm or Lightning

    @property
    def is_external(self) -> bool:
        """Whether all ranks were started from outside, together."""
        return self.world_size is not None

    @property
    def devices(self) -> int | None:
        """Processes on each node."""
        if self.world_size is None or self.nodes is None:
            return None
        return self.world_size // self.nodes


FIRST = Launch(0, 0, None, None, "Lightning")  # a process that a person started


def launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """Read a launcher's environment variables, the same ones as Lightning."""
    read = environment.get
    if "TORCHELASTIC_RUN_ID" in environment:
        world, local = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        return Launch(int(environment["RANK"]), int(environment["LOCAL_RANK"]), world, world // local, "torchrun")
    if "SLURM_NTASKS" in environment and read("SLURM_JOB_NAME") not in INTERACTIVE:
        nodes = int(read("SLURM_NNODES", "1"))
        rank, local_rank = int(read("SLURM_PROCID", "0")), int(read("SLURM_LOCALID", "0"))
        return Launch(rank, local_rank, int(environment["SLURM_NTASKS"]), nodes, "Slurm")
    local_rank = int(read("LOCAL_RANK", "0"))
    return Launch(local_rank, local_rank, None, None, "Lightning")


def follow(started: Launch, cfg: DictConfig) -> None:
    """Set cluster.devices and cluster.nodes to what a launcher started, if one started all ranks.

    Raises ValueError if that is less than the config asks for, or differs from node to node.
    """
    if not started.is_external:
        return
    cluster, world, nodes = cfg.cluster, started.world_size, started.nodes
    assert world is not None
    assert nodes is not None
    if world % nodes:
        raise ValueError(f"{started.by} started {world} processes on {nodes} nodes: start as many on each node")
    if world < cluster.devices * cluster.nodes:
        hint = ": in a Slurm job, start them by srun" if started.by == "Slurm" else ""
        raise ValueError(
            f"{started.by} started {world} processes, but cluster.devices={cluster.devices} x cluster.nodes="
            f"{cluster.nodes} asks for {cluster.devices * cluster.nodes}{hint}, or choose a smaller cluster"
        )
    cluster.devices, cluster.nodes = started.devices, nodes


def end_with_parent() -> None:
    """Have the system end this process when its parent ends, for whatever reason (Linux).

    Otherwise a rank whose launcher was killed would generate until its next collective.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
