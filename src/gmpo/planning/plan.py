"""The plan of a recipe on a cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from omegaconf import DictConfig

from gmpo.planning import memory, speed
from gmpo.planning.fitting import Change, complaints_of, limit_gib, smallest_change
from gmpo.planning.memory import RESERVE, Parts, Shard
from gmpo.planning.recipe import GIB, Recipe
from gmpo.planning.speed import Lengths

EXPECTED_RESPONSE = 0.5  # of the longest allowed, on average
EXPECTED_PROMPT = 256  # tokens, on average, or the longest allowed


@dataclass(frozen=True)
class Plan:
    """The demands of a recipe on a cluster. Memory in GiB, of one rank; `host` of one node."""

    world_size: int
    nodes: int
    prompts_per_step: int
    group_size: int
    responses_per_step: int
    mini_batch_prompts: int
    optimizer_steps_per_rollout_step: int
    sequences_per_optimizer_step: int  # in one data-parallel group
    micro_batches: int  # of an optimizer step on each rank, at the expected length
    most_micro_batches: int  # if every response has the maximum length
    data_parallel: int
    dp_replicate: int
    dp_shard: int
    context_parallel: int
    fsdp_shard: int
    tensor_parallel: int
    engines: int
    max_prompt_tokens: int
    max_response_tokens: int
    parameters: int
    active_parameters: int
    memory_gib: dict[str, float]  # by phase
    memory_parts_gib: dict[str, Parts]  # by phase and part
    gpu_memory_gib: float | None
    headroom_gib: float
    host_memory_gib: dict[str, float]
    host_parts_gib: Parts
    checkpoint_gib: float  # on disk, each
    export_gib: float  # on disk, the trained model
    kv_cache_gib: float
    concurrent_sequences: dict[str, int]  # of one engine
    fits: bool
    complaints: list[str]  # why it does not fit
    remedy: Change | None  # the smallest change that makes it fit, if any
    step_seconds: dict[str, float]  # by phase
    expected_tokens: dict[str, float]
    assumptions: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the plan with numbers rounded to their precision."""
        return _rounded(asdict(self))


def make_plan(cfg: DictConfig, shard: Shard | None = None, origin: str | None = None) -> Plan:
    """Return the plan of a config that passed `gmpo.config.check_recipe`.

    shard: a rank's parameters as counted on the real model; None: by division. origin: where the model's sizes come
    from, for the assumptions. Raises ValueError where they are not known.
    """
    recipe = Recipe.of(cfg)
    shard = shard or memory.shard_of(recipe)
    by_phase, host = memory.phases(recipe, shard), memory.host(recipe, shard)
    complaints = complaints_of(recipe, shard)
    totals = {phase: sum(parts.values()) for phase, parts in by_phase.items()}
    lengths = expected_lengths(recipe)
    layout, batch = recipe.layout, recipe.batch
    return Plan(
        world_size=layout.world_size,
        nodes=recipe.nodes,
        prompts_per_step=batch.prompts,
        group_size=batch.group_size,
        responses_per_step=batch.responses,
        mini_batch_prompts=batch.mini_batch_prompts,
        optimizer_steps_per_rollout_step=batch.optimizer_steps,
        sequences_per_optimizer_step=batch.sequences_per_step,
        micro_batches=batch.micro_batches(lengths.sequence),
        most_micro_batches=batch.micro_batches(batch.longest),
        data_parallel=layout.data_parallel,
        dp_replicate=layout.dp_replicate,
        dp_shard=layout.dp_shard,
        context_parallel=layout.cp,
        fsdp_shard=layout.fsdp_shard,
        tensor_parallel=recipe.tensor_parallel,
        engines=recipe.engines,
        max_prompt_tokens=recipe.max_prompt_tokens,
        max_response_tokens=recipe.max_response_tokens,
        parameters=recipe.shape.parameters,
        active_parameters=recipe.shape.active_parameters,
        memory_gib=totals,
        memory_parts_gib=by_phase,
        gpu_memory_gib=recipe.gpu_gib,
        headroom_gib=limit_gib(recipe) - max(totals.values()),
        host_memory_gib={
            "needed": sum(host.values()),
            "usable": recipe.host_gib * (1 - RESERVE),
            "available": recipe.host_gib,
        },
        host_parts_gib=host,
        checkpoint_gib=3 * memory.KEPT * recipe.shape.parameters / GIB,
        export_gib=memory.KEPT * recipe.shape.parameters / GIB,
        kv_cache_gib=memory.kv_cache(recipe),
        concurrent_sequences={
            "expected": memory.concurrent_sequences(recipe, lengths.sequence),
            "longest": memory.concurrent_sequences(recipe, recipe.engine_tokens),
        },
        fits=not complaints,
        complaints=complaints,
        remedy=smallest_change(cfg) if complaints else None,
        step_seconds=speed.step_seconds(recipe, shard, lengths),
        expected_tokens=asdict(lengths),
        assumptions=[*([f"the model's sizes are those of {origin}"] if origin else []), *assumptions(recipe, lengths)],
    )


def expected_lengths(recipe: Recipe) -> Lengths:
    """Return the assumed mean lengths."""
    return Lengths(min(EXPECTED_PROMPT, recipe.max_prompt_tokens), EXPECTED_RESPONSE * recipe.max_response_tokens)


def assumptions(recipe: Recipe, lengths: Lengths) -> list[str]:
    """Return the assumptions behind the numbers, besides the formulas."""
    said = [
        f"sequences have {lengths.prompt:.0f} + {lengths.response:.0f} tokens on average, one response of each engine "
        "has the maximum length, and all are in the loss",
        f"forward and backward reach {speed.COMPUTE:.0%} of {recipe.tflops:g} TFLOP/s, decoding {speed.READING:.0%} of "
        f"{recipe.memory_gb_s:g} GB/s, collectives {speed.SENDING:.0%} of {recipe.node_gb_s:g} GB/s within a node and "
        f"{recipe.network_gb_s:g} GB/s beyond",
        "rewards are computed during generation; no group is refilled",
    ]
    if not recipe.gpu:
        said.append(f"a process takes {memory.CPU_PROCESS:g} GiB besides model and engine")
    else:
        said.append(
            f"CUDA and NCCL take {memory.GPU_PROCESS:g} GiB of a GPU, a sleeping engine {memory.ASLEEP:g} GiB, one at "
            f"work {memory.ENGINE_WORK:g} GiB besides weights, passes and KV cache; {RESERVE:.0%} of memory stay free"
        )
        said.append(f"a process takes {memory.HOST_PROCESS:g} GiB of its host; the export gathers the model on one")
    if recipe.prefetch:
        where = (
            "GPUs of its own" if recipe.engine_elsewhere else "the same GPUs, whose rate both then share: not counted"
        )
        said.append(f"generation runs during the update, on {where}")
    if recipe.offload:
        said.append(f"GPU and host exchange {speed.CPU_LINK_GB_S:g} GB/s; AdamW reads {speed.CPU_READING_GB_S:g} GB/s")
    return said


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return round(value, 3) if isinstance(value, float) else value
