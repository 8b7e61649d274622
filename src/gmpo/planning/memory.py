"""Formulas for the memory of a rank in each phase of a rollout step, and of a node."""

from collections.abc import Mapping
from dataclasses import dataclass

from gmpo.planning import activations
from gmpo.planning.recipe import GIB, VLLM, Recipe

KEPT = 4  # bytes of a parameter as it is kept, of its gradient, and of each of AdamW's two moments

# Constants that no formula gives, in GiB; the plan lists them among its assumptions.
GPU_PROCESS = 2.0  # CUDA context, NCCL's buffers, kernels
ASLEEP = 1.5  # what a sleeping engine keeps on its GPU: CUDA graphs and buffers
ENGINE_WORK = 2.0  # CUDA graphs and workspace of an engine that is awake
CPU_PROCESS = 2.0  # Python, torch and vLLM in a process on a CPU
HOST_PROCESS = 8.0  # the same for a process with a GPU, with pinned buffers
BUCKET = 0.5  # gathered at once for the engine, as gmpo.models.weights has it
RESERVE = 0.05  # of all memory: fragmentation, and what the formulas miss

Parts = dict[str, float]  # GiB by purpose


@dataclass(frozen=True)
class Shard:
    """Numbers of parameters: this rank's, and of the modules that are gathered."""

    own: float  # this rank's share of all parameters
    block: int
    root: int  # outside the blocks
    layers: int

    @property
    def whole(self) -> int:
        """Parameters of the whole model."""
        return self.layers * self.block + self.root


def shard_of(recipe: Recipe) -> Shard:
    """Return a rank's parameters by division; FSDP2 pads each first dimension to a multiple of the ranks."""
    shape = recipe.shape
    return Shard(shape.parameters / recipe.layout.fsdp_shard, shape.block, shape.root, shape.layers)


def phases(recipe: Recipe, shard: Shard) -> dict[str, Parts]:
    """Return a rank's memory on its GPU (or in its CPU process), by phase and part, in GiB."""
    return {
        "generate": _generate(recipe, shard),
        "weight_sync": _weight_sync(recipe, shard),
        "log_probs": _log_probs(recipe, shard),
        "update": _update(recipe, shard),
    }


def host(recipe: Recipe, shard: Shard) -> Parts:
    """Return the host memory of all ranks of the first node, in GiB; without a GPU that is everything."""
    own = shard.own * KEPT
    if not recipe.gpu:
        fullest = max(phases(recipe, shard).values(), key=lambda parts: sum(parts.values()))
        return {name: recipe.devices * size for name, size in fullest.items()}
    each = {"processes": HOST_PROCESS * GIB}
    if recipe.offload:
        each |= {"parameters": own, "gradients": own, "optimizer": 2 * own}
    if recipe.reference and recipe.reference_on_cpu:
        each["reference"] = own
    if recipe.asynchronous:
        each["checkpoint"] = 3 * own
    return _gib({name: recipe.devices * size for name, size in each.items()} | {"export": shard.whole * KEPT})


def engine_weights(recipe: Recipe) -> float:
    """Return the GiB of an engine's weights on each of its ranks."""
    return recipe.shape.parameters * recipe.bytes / recipe.tensor_parallel / GIB


def kv_cache(recipe: Recipe) -> float:
    """Return the GiB of keys and values on each rank; at most 0 where the engine's share cannot hold its weights."""
    if recipe.engine != VLLM:  # as much as a batch of its sequences needs
        together = min(recipe.max_num_seqs, -(-recipe.batch.responses // recipe.engines))
        return together * recipe.engine_tokens * kv_bytes_per_token(recipe) / GIB
    if recipe.gpu_gib is None:
        return recipe.kv_cache_gib
    forward = recipe.max_num_batched_tokens * activations.block_forward(recipe.shape, recipe.bytes)
    logits = recipe.max_num_seqs * recipe.shape.vocabulary * (recipe.bytes + 3 * KEPT)
    work = ENGINE_WORK + (forward + logits) / recipe.tensor_parallel / GIB
    return recipe.gpu_memory_utilization * recipe.gpu_gib - engine_weights(recipe) - work


def kv_bytes_per_token(recipe: Recipe) -> int:
    """Return the bytes on each rank of an engine; one with more ranks than key/value heads repeats the heads."""
    heads = max(1, recipe.shape.kv_heads // recipe.tensor_parallel)
    return 2 * recipe.bytes * recipe.shape.layers * heads * recipe.shape.head_dim


def concurrent_sequences(recipe: Recipe, tokens: float) -> int:
    """Return the number of sequences of this length whose keys and values fit into one engine."""
    return max(0, int(kv_cache(recipe) * GIB / (kv_bytes_per_token(recipe) * tokens)))


def _resident(recipe: Recipe, shard: Shard) -> Parts:
    """Return the bytes that the trainer keeps on its GPU between passes."""
    own = shard.own * KEPT
    parts = {"process": (GPU_PROCESS if recipe.gpu else CPU_PROCESS) * GIB}
    if not recipe.offload:
        parts |= {"parameters": own, "optimizer": 2 * own}
    if recipe.reference and not recipe.reference_on_cpu:
        parts["reference"] = own
    if recipe.asynchronous and not recipe.gpu:
        parts["checkpoint"] = 3 * own
    return parts


def _engine(recipe: Recipe, awake: bool, only_weights: bool = False) -> Parts:
    """Return the bytes that the engine holds on this rank."""
    if recipe.engine_elsewhere:
        return {}
    awake = awake or recipe.prefetch
    weights = engine_weights(recipe) * GIB
    if recipe.engine != VLLM and not awake:
        return {"engine weights": weights}
    if recipe.gpu_gib is None or recipe.engine != VLLM:
        return {"engine weights": weights, "KV cache": kv_cache(recipe) * GIB}
    if not awake and recipe.enable_sleep_mode:
        return {"engine asleep": ASLEEP * GIB}
    if only_weights and recipe.enable_sleep_mode:
        return {"engine weights": weights, "engine asleep": ASLEEP * GIB}
    cache = max(0.0, kv_cache(recipe)) * GIB
    work = max(0.0, recipe.gpu_memory_utilization * recipe.gpu_gib * GIB - weights - cache)
    return {"engine weights": weights, "KV cache": cache, "engine work": work}


def _generate(recipe: Recipe, shard: Shard) -> Parts:
    return _gib(_resident(recipe, shard) | _engine(recipe, awake=True))


def _weight_sync(recipe: Recipe, shard: Shard) -> Parts:
    """Count a gathered bucket of parameters and the engine's copy of the largest one; vLLM lays out a block again."""
    gathered = BUCKET * GIB + recipe.bytes * (2 * recipe.shape.largest + shard.block / recipe.tensor_parallel)
    return _gib(_resident(recipe, shard) | _engine(recipe, awake=True, only_weights=True) | {"gathered": gathered})


def _gathered(recipe: Recipe, shard: Shard, blocks: int) -> float:
    """Return the bytes of gathered parameters: outside the blocks, and of `blocks` blocks, or of all if kept."""
    if recipe.unsharded:
        return 0.0
    return recipe.bytes * (shard.root + (shard.layers if recipe.keep_blocks else blocks) * shard.block)


def _in_flight(recipe: Recipe, shard: Shard) -> Parts:
    """Return the bytes of the block that a GPU gathers while it computes another."""
    return {"in flight": shard.block * recipe.bytes} if recipe.gpu and not recipe.unsharded else {}


def _log_probs(recipe: Recipe, shard: Shard) -> Parts:
    shape, b, tokens = recipe.shape, recipe.bytes, recipe.log_prob_tokens
    entropy = recipe.old_log_probs_by_trainer
    chunk = activations.head(shape, b, tokens, recipe.max_logits_per_chunk, entropy)
    at_head = {"gathered": _gathered(recipe, shard, 0), "activations": tokens * activations.block_input(shape, b)}
    at_block = {"gathered": _gathered(recipe, shard, 1), "activations": tokens * activations.block_forward(shape, b)}
    stages = [at_head | {"logits": chunk}, at_block | _in_flight(recipe, shard)]
    return _gib(_resident(recipe, shard) | _engine(recipe, awake=False) | _larger(stages))


def _update(recipe: Recipe, shard: Shard) -> Parts:
    shape, b, tokens = recipe.shape, recipe.bytes, recipe.tokens
    kept, again = _kept_and_computed_again(recipe)
    head_gradient = b * shape.embedding
    at_head = {
        "gathered": _gathered(recipe, shard, 0),
        "activations": tokens * (shape.layers * kept + activations.around_blocks(shape, b)),
        "logits": activations.head(shape, b, tokens, recipe.max_logits_per_chunk, with_entropy=True),
        "gradients at work": head_gradient + activations.head_backward(shape, b, tokens, recipe.max_logits_per_chunk),
    }
    in_block = {
        "gathered": _gathered(recipe, shard, 1),
        "activations": tokens * shape.layers * kept,
        **_in_flight(recipe, shard),
    }
    reducing = 0 if recipe.reduce_gradients == "last" else KEPT * shard.block  # of the block before
    at_block = in_block | {
        "block at work": tokens * (again + activations.block_backward(shape, b)),
        "gradients at work": head_gradient + reducing,
    }
    after_block = in_block | {"gradients at work": head_gradient + (b + KEPT) * shard.block}
    return _gib(
        _resident(recipe, shard)
        | _engine(recipe, awake=False)
        | {"gradients": _gradients(recipe, shard)}
        | _larger([at_head, at_block, after_block])
    )


def _larger(stages: list[Parts]) -> Parts:
    return max(stages, key=lambda parts: sum(parts.values()))


def _kept_and_computed_again(recipe: Recipe) -> tuple[int, int]:
    """Return bytes for each token: kept of every block until its backward pass, and recomputed of the current one."""
    shape, b = recipe.shape, recipe.bytes
    everything = activations.block_kept(shape, b, recipe.packed)
    if recipe.checkpointing == "none":
        return everything, 0
    if recipe.checkpointing == "all":
        return activations.block_input(shape, b), everything
    kept = activations.block_kept_selectively(shape, b)
    return kept, everything - kept + activations.block_input(shape, b)


def _gradients(recipe: Recipe, shard: Shard) -> float:
    """Return the bytes of gradients that wait for the optimizer step."""
    own = 0.0 if recipe.offload else shard.own * KEPT
    if recipe.unsharded or recipe.reduce_gradients == "always" or recipe.batch.micro_batches(recipe.batch.longest) == 1:
        return own
    if recipe.reduce_gradients == "last":
        return own + shard.whole * KEPT
    return own + (shard.own * KEPT if recipe.layout.dp_replicate > 1 else 0.0)


def _gib(parts: Mapping[str, float]) -> Parts:
    return {name: size / GIB for name, size in parts.items()}
