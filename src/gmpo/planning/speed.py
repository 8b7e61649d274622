"""A rough estimate of a rollout step's duration: arithmetic on data sheets, with the assumptions below."""

from dataclasses import dataclass

from gmpo.planning.memory import KEPT, Shard, concurrent_sequences, kv_bytes_per_token
from gmpo.planning.recipe import VLLM, Recipe

COMPUTE = 0.4  # of the peak rate, in products of matrices of forward and backward passes
READING = 0.6  # of the memory's bandwidth, where an engine decodes
SENDING = 0.7  # of a link's bandwidth, in collectives
CPU_LINK_GB_S = 25.0  # between a GPU and its host, each way
CPU_READING_GB_S = 15.0  # of a rank's share of the host's memory: where AdamW works for offloaded parameters
GIGA, TERA = 1e9, 1e12


@dataclass(frozen=True)
class Lengths:
    """Expected mean tokens of a prompt and of a response."""

    prompt: float
    response: float

    @property
    def sequence(self) -> float:
        """Tokens of prompt and response."""
        return self.prompt + self.response


def step_seconds(recipe: Recipe, shard: Shard, lengths: Lengths) -> dict[str, float]:
    """Return seconds by phase and in total.

    Responses have the expected length, except one of the maximum length; all are in the loss.
    """
    sync, generate = _weight_sync(recipe), _generate(recipe, lengths)
    log_probs, update = _log_probs(recipe, shard, lengths), _update(recipe, shard, lengths)
    learn = log_probs + update
    step = sync + (max(generate, learn) if recipe.prefetch else generate + learn)
    return {"weight_sync": sync, "generate": generate, "log_probs": log_probs, "update": update, "step": step}


def forward_operations(recipe: Recipe, tokens: float, length: float) -> float:
    """Return the multiplications and additions of a forward pass over `tokens`, in sequences of this length."""
    shape = recipe.shape
    return tokens * 2 * (shape.active_parameters + shape.layers * shape.query_width * length)


def _compute_seconds(recipe: Recipe, operations: float) -> float:
    """Return the seconds of operations that are divided over all ranks."""
    return operations / (recipe.layout.world_size * recipe.tflops * TERA * COMPUTE)


def _link(recipe: Recipe, ranks: int) -> float:
    """Return the bytes per second that a rank receives in a collective of this many neighbouring ranks."""
    gb_s = recipe.node_gb_s if ranks <= recipe.devices else recipe.network_gb_s
    return gb_s * GIGA * SENDING


def _gathering(recipe: Recipe, passes: int, rounds: float) -> float:
    """Return the seconds of gathering all blocks on every rank, `passes` times in each of `rounds` micro-batches."""
    ranks = recipe.layout.fsdp_shard
    size = recipe.shape.parameters * recipe.bytes * (1 - 1 / ranks)
    seconds = passes * rounds * size / _link(recipe, ranks)
    if recipe.offload:
        seconds += passes * rounds * recipe.shape.parameters * KEPT / ranks / (CPU_LINK_GB_S * GIGA)
    return seconds


def _weight_sync(recipe: Recipe) -> float:
    size, ranks = recipe.shape.parameters * recipe.bytes, recipe.layout.fsdp_shard
    return size * (1 - 1 / ranks) / _link(recipe, ranks) + size / recipe.tensor_parallel / (CPU_LINK_GB_S * GIGA)


def _generate(recipe: Recipe, lengths: Lengths) -> float:
    """Return seconds: each prompt once (prefix cache), then token by token, with fewer sequences towards the end."""
    ranks = recipe.tensor_parallel
    prompts = recipe.batch.prompts / recipe.engines
    sequences = prompts * recipe.batch.group_size
    prefill = forward_operations(recipe, prompts * lengths.prompt, lengths.prompt) / (
        ranks * recipe.tflops * TERA * COMPUTE
    )
    held = concurrent_sequences(recipe, lengths.sequence) if recipe.engine == VLLM else recipe.max_num_seqs
    together = max(1.0, min(sequences, recipe.max_num_seqs, held))
    full = sequences * lengths.response / together
    tail = max(0.0, recipe.max_response_tokens - full) if full < recipe.max_response_tokens else 0.0
    return prefill + full * _decode(recipe, together, lengths) + tail * _decode(recipe, 1.0, lengths)


def _decode(recipe: Recipe, together: float, lengths: Lengths) -> float:
    """Return the seconds of one token of `together` sequences: weights are read once, keys and values for each."""
    shape, ranks = recipe.shape, recipe.tensor_parallel
    read = shape.parameters
    if shape.experts:  # an expert is read if any sequence is routed to it
        idle = (1 - shape.experts_per_token / shape.experts) ** together
        read -= int(idle * shape.layers * shape.experts * shape.expert)
    cache = together * kv_bytes_per_token(recipe) * lengths.sequence
    reading = (read * recipe.bytes / ranks + cache) / (recipe.memory_gb_s * GIGA * READING)
    operations = forward_operations(recipe, together, lengths.sequence) / (ranks * recipe.tflops * TERA * COMPUTE)
    return max(reading, operations)


def _log_probs(recipe: Recipe, shard: Shard, lengths: Lengths) -> float:
    tokens = recipe.batch.responses * lengths.sequence
    first = 1 / recipe.batch.optimizer_steps  # share of the responses whose own update gives the old log-probs
    passes = recipe.old_log_probs_by_trainer * (1 - first) + int(recipe.reference)
    compute = _compute_seconds(recipe, forward_operations(recipe, tokens, lengths.sequence))
    return passes * max(compute, _gathering(recipe, 1, recipe.batch.log_prob_batches(lengths.sequence)))


def _update(recipe: Recipe, shard: Shard, lengths: Lengths) -> float:
    tokens = recipe.batch.responses * lengths.sequence
    forward = forward_operations(recipe, tokens, lengths.sequence)
    compute = _compute_seconds(recipe, forward * (4 if recipe.checkpointing == "all" else 3))
    steps, ranks = recipe.batch.optimizer_steps, recipe.layout.fsdp_shard
    rounds = recipe.batch.micro_batches(lengths.sequence)
    reduced = 1 if recipe.reduce_gradients == "last" else rounds
    reducing = steps * reduced * recipe.shape.parameters * KEPT * (1 - 1 / ranks) / _link(recipe, ranks)
    copies = recipe.layout.dp_replicate  # their gradients are summed once in an optimizer step
    reducing += steps * 2 * KEPT * shard.own * (1 - 1 / copies) / _link(recipe, recipe.layout.world_size)
    gathering = _gathering(recipe, 1 if recipe.keep_blocks else 2, steps * rounds)
    return max(compute, gathering + reducing) + steps * _optimizer(recipe, shard)


def _optimizer(recipe: Recipe, shard: Shard) -> float:
    """Return the seconds of AdamW, which reads parameter, gradient and two moments, and writes three of them."""
    size = 7 * KEPT * shard.own
    if not recipe.offload:
        return size / (recipe.memory_gb_s * GIGA * READING)
    return size / (CPU_READING_GB_S * GIGA) + KEPT * shard.own / (CPU_LINK_GB_S * GIGA)
