"""Whole tensors out of sharded parameters."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from gmpo.compat import AsyncCollectiveTensor

BUCKET = 512 * 2**20  # bytes of whole tensors that are gathered together, and so held beside the shares


def whole_weights(
    model: nn.Module, device: torch.device, dtype: torch.dtype | None = None, bucket: int = BUCKET
) -> Iterator[tuple[str, Tensor]]:
    """Name and whole tensor of each parameter, on `device`, cast to `dtype` where one is given.

    Shares are cast before they travel. On a GPU a bucket of parameters is gathered at a time, so that many small ones
    do not wait for each other and no second whole model stands beside the shares; on a CPU one parameter, since gloo
    aborts now and then with several under way. Every rank must iterate to the end.
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
    """Return the whole parameter; for a sharded one the gathering has begun."""
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
