"""A training pass as the trainer makes it, under torch's memory tracker, on tensors without memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from gmpo.models.log_prob_head import LogProbHead
from gmpo.parallel.fsdp import Sharding
from gmpo.parallel.layout import Layout
from gmpo.parallel.mesh import Mesh

STAND_IN = "stand_in"
GIB = 2**30


def flash_on_cpu(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: None, scaling: float, **_: object
) -> tuple[Tensor, None]:
    """Keeps what the kernel for variable lengths keeps on a GPU; without a GPU that one cannot even pretend to run."""
    repeats = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(repeats, dim=1) for tensor in (key, value))
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return flash(query, key, value, 0.0, True, scale=scaling)[0].transpose(1, 2), None


@pytest.fixture(autouse=True)
def no_process_group() -> None:
    """What earlier tests of the same process may have left."""
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def posing_as(ranks: int) -> Iterator[None]:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        yield
    finally:
        dist.destroy_process_group()


def peak_gib(
    shape: dict,
    tokens: int,
    ranks: int,
    checkpointing: str,
    reduce_gradients: str,
    at_once: int,
    backward: bool,
    dtype: torch.dtype = torch.bfloat16,
) -> float:
    """Of two micro-batches of an optimizer step, or of one pass without gradients, on one of so many ranks."""
    AttentionInterface.register(STAND_IN, flash_on_cpu)
    config = AutoConfig.for_model(**shape)
    config._attn_implementation = STAND_IN
    if "num_experts" in shape:
        config._experts_implementation = "grouped_mm"
    sharding = Sharding(checkpointing=checkpointing, reduce_gradients=reduce_gradients)  # type: ignore[arg-type]
    with posing_as(ranks):
        mesh = Mesh.of(Layout.of(ranks), "cpu")
        with FakeTensorMode(allow_non_fake_inputs=True):
            return _tracked(config, tokens, mesh, sharding, at_once, backward, dtype) / GIB


def _tracked(
    config: PreTrainedConfig,
    tokens: int,
    mesh: Mesh,
    sharding: Sharding,
    at_once: int,
    backward: bool,
    dtype: torch.dtype,
) -> int:
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
    if mesh.layout.world_size > 1 or dtype != torch.float32:
        for module in (*model.model.layers, model):
            sharding.shard(module, mesh, dtype)
    sharding.checkpoint_activations(model)
    ids, positions = torch.zeros(1, tokens, dtype=torch.long), torch.arange(tokens).unsqueeze(0)
    head = LogProbHead(1.0, with_entropy=True, max_logits_per_chunk=at_once)

    def micro_batch(is_last: bool) -> None:
        sharding.before_backward(model, is_last)
        with torch.set_grad_enabled(backward), head.in_place_of_logits(model, ids):
            values = model(input_ids=ids, position_ids=positions, logits_to_keep=tokens, use_cache=False).logits
        if backward:
            values[..., 0].sum().backward()

    micro_batch(is_last=True)  # what is allocated once
    model.zero_grad()
    tracker = MemTracker()
    tracker.track_external(model)
    with tracker:
        micro_batch(is_last=False)
        if backward:
            tracker.reset_mod_stats()
            micro_batch(is_last=False)

    return sum(device["Total"] for device in tracker.get_tracker_snapshot("peak").values())
