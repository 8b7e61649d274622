"""Gathering of whole tensors from sharded parameters."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from gmpo.compat import AsyncCollectiveTensor

BUCKET = 512 * 2**20  # bytes of whole tensors that are gathered together, and held besides the shards


def whole_weights(
    model: nn.Module, device: torch.device, dtype: torch.dtype | None = None, bucket: int = BUCKET
) -> Iterator[tuple[str, Tensor]]:
    """Yield name and whole tensor of each parameter, on `device`, cast to `dtype` if given.

    Shards are cast before they are sent. On a GPU a bucket of parameters is gathered at a time, so that many small ones
    do not wait for each other and no second whole model is held besides the shards; on a CPU one parameter, since gloo
    occasionally aborts with several in flight. Every rank must iterate to the end.
    """
    waiting: list[tuple[str, Tensor]] = []
    size = 0
    for name, parameter in model.named_parameters():
        waiting.append((name, _gathered(parameter.detach(), device, dtype)))
        size += waiting[-1][1].nbytes
        if size >= bucket:
            yield from _finished(waiting)
            size = 0
    yield from _finished(waiting)


def _gathered(parameter: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """Return the whole parameter; for a sharded one the gather is in flight."""
    if not isinstance(parameter, DTensor):
        return parameter.to(device, dtype)
    share = DTensor.from_local(
        parameter.to_local().to(device, dtype),
        parameter.device_mesh,
        parameter.placements,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
    whole = [Replicate()] * share.device_mesh.ndim
    return share.redistribute(placements=whole, async_op=device.type == "cuda").to_local()


def _finished(waiting: list[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Yield gathered tensors as they are done, emptying the list."""
    while waiting:
        name, tensor = waiting.pop(0)
        if isinstance(tensor, AsyncCollectiveTensor):
            tensor = tensor.wait()
        yield name, tensor
