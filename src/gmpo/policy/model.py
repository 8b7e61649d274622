"""Loading a model's weights and sharding them."""

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard
from transformers import AutoModelForCausalLM, PreTrainedModel


def load_model(path: str, dtype: str, attention: str) -> PreTrainedModel:
    """A causal language model in the Hugging Face format, in training mode; dtype as torch names it."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=attention)
    return model.train()


def shard(model: PreTrainedModel, mesh: DeviceMesh, on_cpu: bool = False) -> None:
    """Shard the parameters over the mesh by FSDP2, block by block, in place.

    on_cpu: each rank's share stays in the memory of its CPU; a block is on the GPU only while it computes.
    """
    offload = CPUOffloadPolicy(pin_memory=torch.cuda.is_available()) if on_cpu else OffloadPolicy()
    for block in model.model.layers:
        fully_shard(block, mesh=mesh, offload_policy=offload)
    fully_shard(model, mesh=mesh, offload_policy=offload)


def reshard(model: PreTrainedModel) -> None:
    """Give each rank its share back after a pass without gradients: FSDP2 leaves the outermost module whole."""
    if isinstance(model, FSDPModule):
        model.reshard()
