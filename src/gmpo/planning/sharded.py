"""The parameters on a rank: of the model's own class, without weights, sharded by FSDP2."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModelForCausalLM

from gmpo.compat import fake_store
from gmpo.parallel.fsdp import Sharding
from gmpo.parallel.layout import Layout
from gmpo.parallel.mesh import Mesh
from gmpo.planning.memory import Shard


def sharded(config: Mapping[str, Any], layout: Layout) -> Shard:
    """Count the parameters of rank 0, which holds the most, while one process poses as all ranks.

    config: as in config.json. Nothing is allocated: the model is on the meta device.
    """
    settings = {key: value for key, value in config.items() if key != "model_type"}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **settings))
    block = sum(parameter.numel() for parameter in model.model.layers[0].parameters())
    whole = sum(parameter.numel() for parameter in model.parameters())
    layers = len(model.model.layers)
    dist.init_process_group("fake", store=fake_store(), rank=0, world_size=layout.world_size)
    try:
        mesh = Mesh.of(layout, "cpu")
        for module in (*model.model.layers, model):
            Sharding().shard(module, mesh, torch.bfloat16)
        own = sum(_own(parameter) for parameter in model.parameters())
    finally:
        dist.destroy_process_group()
    return Shard(own, block, whole - layers * block, layers)


def _own(parameter: torch.Tensor) -> int:
    assert isinstance(parameter, DTensor)
    return parameter.to_local().numel()
