"""The formulas for memory against the peak of a real GPU."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from test_memory import DENSE, EXPERTS, NORMED, NOT_ALLOCATED, composed, planned
from tracked_training import no_process_group  # noqa: F401  (a fixture)
from transformers import AutoConfig, AutoModelForCausalLM

from gmpo.models.log_prob_head import LogProbHead
from gmpo.parallel.context_parallel import VARLEN, attention_name, flash_kwargs
from gmpo.parallel.fsdp import Sharding
from gmpo.parallel.layout import Layout
from gmpo.parallel.mesh import Mesh
from gmpo.planning.memory import GIB
from gmpo.planning.recipe import Recipe

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
TOKENS, AT_ONCE = 16384, 2**26


@pytest.fixture
def alone(tmp_path: Path) -> Mesh:
    dist.init_process_group("nccl", f"file://{tmp_path}/store", timedelta(seconds=60), rank=0, world_size=1)
    yield Mesh.of(Layout.of(1), "cuda")
    dist.destroy_process_group()


@pytest.mark.parametrize("checkpointing", ["none", "all", "selective"])
@pytest.mark.parametrize("shape", [DENSE, NORMED, EXPERTS])
def test_an_update_peaks_where_the_formulas_say(shape: dict, checkpointing: str, alone: Mesh) -> None:
    sharding = Sharding(checkpointing=checkpointing, reduce_gradients="shards")  # type: ignore[arg-type]
    config = AutoConfig.for_model(**shape)
    config._attn_implementation = attention_name(VARLEN, None)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
    for module in (*model.model.layers, model):
        sharding.shard(module, alone, torch.bfloat16)
    sharding.checkpoint_activations(model)
    ids = torch.zeros(1, TOKENS, dtype=torch.long, device="cuda")
    attention = flash_kwargs(torch.tensor([TOKENS // 4] * 4, device="cuda"))
    positions = torch.arange(TOKENS // 4, device="cuda").repeat(4).unsqueeze(0)

    def micro_batch() -> None:
        sharding.before_backward(model, is_last=False)
        with LogProbHead(1.0, False, AT_ONCE).in_place_of_logits(model, ids):
            values = model(input_ids=ids, position_ids=positions, use_cache=False, **attention).logits
        values.sum().backward()

    micro_batch()
    torch.cuda.reset_peak_memory_stats()
    micro_batch()
    measured = torch.cuda.max_memory_allocated() / GIB
    settings = (f"sharding.checkpointing={checkpointing}", "sharding.reduce_gradients=shards", "cluster.devices=1")
    budget = (f"batch.max_tokens_per_micro_batch={TOKENS}", f"policy.max_logits_per_chunk={AT_ONCE}")
    recipe = Recipe.of(composed(shape, *settings, *budget))
    assert planned(recipe, "update", NOT_ALLOCATED) == pytest.approx(measured, rel=0.1)
