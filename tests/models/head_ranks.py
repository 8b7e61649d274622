"""Ranks compare log-probs and gradients of a sharded MODEL with the whole: `torchrun head_ranks.py MODEL ...`."""

import torch
import torch.distributed as dist
from each_path import run_on_each_path
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from transformers import AutoModelForCausalLM, PreTrainedModel

from gmpo.models.log_prob_head import LogProbHead

WIDTH, TEMPERATURE = 11, 0.7


def weighed(values: Tensor, rank: int) -> Tensor:
    """A loss in which each token and entropy of each rank has a weight of its own."""
    weights = torch.arange(1.0, values.numel() + 1, dtype=values.dtype).view_as(values)
    return (values * weights).sum() * (rank + 1)


def ids_of(rank: int) -> Tensor:
    return torch.arange(2 * WIDTH).view(2, WIDTH) * 7 % 250 + rank


def plain(model: PreTrainedModel, ids: Tensor) -> Tensor:
    log_softmax = (model(input_ids=ids).logits / TEMPERATURE).log_softmax(-1)
    log_probs = log_softmax.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    return torch.stack([log_probs, -(log_softmax.exp() * log_softmax).sum(-1)], dim=-1)


def main(path: str) -> None:
    whole = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)
    sharded = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for module in (*sharded.model.layers, sharded):
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    rank, ids = dist.get_rank(), ids_of(dist.get_rank())
    with LogProbHead(TEMPERATURE, True, max_logits_per_chunk=300).in_place_of_logits(sharded, ids):
        values = sharded(input_ids=ids).logits
    assert isinstance(sharded, FSDPModule)
    torch.testing.assert_close(values, plain(whole, ids), rtol=0, atol=1e-10)
    weighed(values, rank).backward()
    ranks = range(dist.get_world_size())
    sum(weighed(plain(whole, ids_of(other)), other) for other in ranks).div(len(ranks)).backward()
    expected = {name: parameter.grad for name, parameter in whole.named_parameters()}
    for name, parameter in sharded.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad.full_tensor(), expected[name], rtol=1e-10, atol=1e-9)
    print(f"{path} is the same\n", end="", flush=True)


if __name__ == "__main__":
    run_on_each_path(main)
