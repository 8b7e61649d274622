"""Loading the policy's weights and sharding them."""

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM, PreTrainedModel


def load_model(path: str, dtype: str, attention: str) -> PreTrainedModel:
    """A causal language model in the Hugging Face format, in training mode; dtype as torch names it."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=attention)
    return model.train()


def shard(model: PreTrainedModel, mesh: DeviceMesh) -> None:
    """Shard the parameters over the mesh by FSDP2, block by block, in place."""
    for block in model.model.layers:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
