"""The policy as a folder in the Hugging Face format."""

from pathlib import Path

from torch import Tensor
from transformers import AutoTokenizer

from gmpo.policy.module import PolicyModule


def save_hugging_face(policy: PolicyModule, folder: Path) -> None:
    """Write weights (safetensors), config and tokenizer to `folder`; all ranks call it, the first one writes.

    The tokenizer is the one that the policy's model came with.
    """
    assert policy.model is not None, "configure_model() comes first"
    writes = policy.trainer.is_global_zero
    weights: dict[str, Tensor] = {name: tensor.cpu() for name, tensor in policy.weights() if writes}
    if writes:
        policy.model.save_pretrained(folder, state_dict=weights)
        AutoTokenizer.from_pretrained(policy.model_path).save_pretrained(folder)
