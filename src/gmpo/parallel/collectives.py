"""Exchange of Python objects between ranks. All functions are collective; with one rank they just return."""

import pickle
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def rank() -> int:
    """Return the rank of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def gather(item: T) -> list[T]:
    """Return the values of all ranks, by rank, on every rank. For small objects: everything is sent to everyone."""
    if world_size() == 1:
        return [item]
    items: list[T | None] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items  # type: ignore[return-value]


def gather_lists(items: list[T]) -> list[T]:
    """Return the lists of all ranks as one."""
    return [item for own in gather(items) for item in own]


def exchange(outgoing: Sequence[Sequence[T]]) -> list[T]:
    """Send outgoing[r] to rank r; returns the received items in the order of their senders.

    Items that a rank sends to itself are passed on as they are; all others arrive as copies.
    """
    own = rank()
    if world_size() == 1:
        return list(outgoing[0])
    parcels = [b"" if r == own or not items else pickle.dumps(list(items)) for r, items in enumerate(outgoing)]
    sizes = torch.tensor([len(parcel) for parcel in parcels])
    incoming_sizes = torch.empty_like(sizes)
    dist.all_to_all_single(incoming_sizes, sizes)
    incoming = torch.empty(int(incoming_sizes.sum()), dtype=torch.uint8)
    dist.all_to_all_single(incoming, _bytes(parcels), incoming_sizes.tolist(), sizes.tolist())
    received: list[T] = []
    for r, parcel in enumerate(incoming.split(incoming_sizes.tolist())):
        if r == own:
            received += outgoing[own]
        elif parcel.numel():
            received += pickle.loads(parcel.numpy().tobytes())  # from a rank of this run
    return received


def _bytes(parcels: Sequence[bytes]) -> Tensor:
    whole = bytearray().join(parcels)
    return torch.frombuffer(whole, dtype=torch.uint8) if whole else torch.empty(0, dtype=torch.uint8)
