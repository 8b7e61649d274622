"""All private API of torch, transformers and Lightning that the project uses, under names of our own.

pyproject.toml bounds these packages from above, and tests/test_compat.py tries each name. vLLM's private API is in
rollout/vllm_compat.py. parallel/strategy.py also overrides private hooks of Lightning's strategy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.attention.varlen  # registers its kernel
from torch._C._profiler import _ExperimentalConfig as ProfilerSettings
from torch.distributed._functional_collectives import AsyncCollectiveTensor, all_to_all_single_autograd
from torch.distributed.checkpoint._nested_dict import flatten_state_dict
from torch.distributed.checkpoint.filesystem import _StorageInfo as StorageInfo
from torch.serialization import _get_layout as get_layout

if TYPE_CHECKING:
    from lightning import LightningModule, Trainer
    from transformers import PreTrainedConfig, PreTrainedModel

__all__ = [
    "ATTENTION",
    "GROUPED_PRODUCT",
    "AsyncCollectiveTensor",
    "ProfilerSettings",
    "StorageInfo",
    "all_to_all_single_autograd",
    "attention_of",
    "config_value",
    "dtype_plan",
    "fake_store",
    "flatten_state_dict",
    "forget_logged",
    "get_layout",
    "set_attention",
    "set_device",
]

GROUPED_PRODUCT = torch.ops.aten._grouped_mm.default
ATTENTION = [  # torch's own kernels
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.torch_attn._varlen_attn.default,
]


def fake_store() -> Any:
    """Return the store of a process group in which one process poses as all ranks (backend "fake")."""
    from torch.testing._internal.distributed.fake_pg import FakeStore  # registers the backend

    return FakeStore()


def dtype_plan(model: PreTrainedModel, dtype: torch.dtype) -> Mapping[str, torch.dtype]:
    """Return the parameters that a transformers model keeps in a dtype other than `dtype`."""
    return model._get_dtype_plan(dtype)


def config_value(config: PreTrainedConfig, name: str) -> Any:
    """Return a value of a model's config by its common name; None where the model has none."""
    return getattr(config, name, None)  # not in to_dict(): GPT-2's n_head is num_attention_heads by attribute_map


def attention_of(model: PreTrainedModel) -> str:
    """Return the name of a transformers model's attention implementation."""
    return model.config._attn_implementation


def set_attention(model: PreTrainedModel, name: str) -> None:
    """Set a transformers model's attention implementation, without its checks."""
    model.config._attn_implementation = name


def forget_logged(trainer: Trainer, hook: str) -> None:
    """Drop what was logged in a hook: Lightning would repeat it in a step that logs nothing."""
    if trainer._results is not None:
        trainer._results.reset(fx=hook)


def set_device(module: LightningModule, device: torch.device) -> None:
    """Set the device that a module names as its own, as `LightningModule.to` would."""
    module._device = device
