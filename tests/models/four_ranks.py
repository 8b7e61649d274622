"""Ranks load each MODEL block by block and compare it with the whole: `torchrun four_ranks.py MODEL ...`."""

import torch
import torch.distributed as dist
from each_path import run_on_each_path
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard
from transformers import AutoModelForCausalLM

from gmpo.models.blockwise import load_blockwise


def main(path: str) -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))

    def shard(module: nn.Module) -> None:
        fully_shard(module, mesh=mesh)

    model = load_blockwise(path, torch.float32, shard)
    expected = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    weights = dict(expected.named_parameters())
    assert [name for name, _ in model.named_parameters()] == list(weights)
    for name, parameter in model.named_parameters():
        assert isinstance(parameter, DTensor)
        assert parameter.placements == (Shard(0),)
        assert torch.equal(parameter.full_tensor(), weights[name]), name
    assert model.config.to_dict() == expected.config.to_dict()
    assert model.config.name_or_path == path
    assert model.generation_config.to_dict() == expected.generation_config.to_dict()
    tied = model.config.tie_word_embeddings
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    ids = torch.arange(18).reshape(2, 9) + dist.get_rank()
    torch.testing.assert_close(model(ids).logits, expected(ids).logits, rtol=0, atol=1e-5)
    print(f"{path} is the same\n", end="", flush=True)


if __name__ == "__main__":
    run_on_each_path(main)
