"""What runs it: the model, the engine, the ranks and their machines."""

from gmpo.settings.kinds import Keys, ListOf, Number, Text, choice, or_null
from gmpo.settings.rows import (
    COUNT,
    FRACTION,
    NAME_OR_NULL,
    POSITIVE,
    POSITIVE_OR_NULL,
    SECONDS,
    SIZE,
    SIZE_OR_NULL,
    SWITCH,
    TEXT,
    TEXT_OR_NULL,
    Row,
    Section,
)

DTYPES = ("bfloat16", "float16", "float32", "float64")
SIZES = (  # whole numbers of a model's config.json
    *("hidden_size", "intermediate_size", "moe_intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "num_experts", "num_experts_per_tok", "head_dim", "vocab_size", "max_position_embeddings"),
)


def _sizes(part: str) -> dict[str, Row]:
    sizes = {f"{part}.{name}": Row(SIZE, "as in config.json") for name in SIZES}
    return sizes | {f"{part}.tie_word_embeddings": Row(SWITCH, "as in config.json")}


MODEL = Section(
    "Model",
    {
        "model.path": Row(NAME_OR_NULL, "a folder in the Hugging Face format, or an id on the hub; model=PATH sets it"),
        "model.attention": Row(TEXT, "auto: varlen in half precision on a GPU, sdpa elsewhere; or flash_attention_2"),
        "model.experts": Row(TEXT_OR_NULL, "of a mixture: null is grouped products of matrices; or eager"),
        "model.trust_remote_code": Row(SWITCH, "code that comes with the model runs here"),
        "model.overrides": Row(Keys("keys of config.json: +model.overrides.KEY=VALUE"), "of its config.json"),
        "model.shape": Row(or_null(Keys()), "its config.json for the planner, where that cannot be reached"),
        "model.make": Row(or_null(Keys()), "how the project makes this model itself"),
        "model.make.kinds": Row(ListOf(Text(empty=False), '["3+2"]'), "of arithmetic that such a model learns before"),
        "model.make.seed": Row(COUNT, "of a model that the project makes"),
    },
)
CONFIG_JSON = Section("What a config.json says", _sizes("model.overrides") | _sizes("model.shape"))
ROLLOUT = Section(
    "Engine",
    {
        "rollout.package": Row(TEXT, "the package that generates"),
        "rollout.async_steps": Row(
            choice(0, 1),
            "1: generate the next step's responses beside the update, from weights one step behind",
            "steps",
        ),
        "rollout.subprocess": Row(SWITCH, "an engine in a process of its own is started again where it dies"),
        "rollout.first_gpu": Row(
            or_null(COUNT),
            "rank i of a node has GPU first_gpu + i, for an engine in a process of its own; null: the trainer's",
        ),
        "rollout.timeout": Row(SECONDS, "without a finished response, after which an engine counts as hung", "s"),
        "rollout.engine.max_model_len": Row(SIZE, "the longest prompt and response together", "tokens"),
        "rollout.engine.max_num_seqs": Row(SIZE, "generated at once", "sequences"),
        "rollout.engine.max_num_batched_tokens": Row(SIZE, "of one forward pass of vLLM", "tokens"),
        "rollout.engine.kv_cache_gib": Row(SIZE, "the cache on a CPU", "GiB"),
        "rollout.engine.block_size": Row(SIZE_OR_NULL, "of a block of the cache", "tokens"),
        "rollout.engine.gpu_memory_utilization": Row(FRACTION, "the part of a GPU that vLLM takes"),
        "rollout.engine.tensor_parallel": Row(SIZE, "that one engine spans", "ranks"),
        "rollout.engine.enable_sleep_mode": Row(SWITCH, "give the GPU's memory to the update between generations"),
        "rollout.engine.trust_remote_code": Row(SWITCH, "as model.trust_remote_code"),
        "rollout.engine.dtype": Row(choice(*DTYPES), "as cluster.dtype"),
    },
)
CLUSTER = Section(
    "Cluster",
    {
        "cluster.accelerator": Row(choice("cpu", "gpu"), "what computes"),
        "cluster.devices": Row(SIZE, "on each node", "ranks"),
        "cluster.nodes": Row(SIZE, "machines", "nodes"),
        "cluster.dp_replicate": Row(SIZE, "copies of the parameters", "copies"),
        "cluster.dp_shard": Row(SIZE_OR_NULL, "that share a copy and train sequences of their own; null: all", "ranks"),
        "cluster.cp": Row(SIZE, "that share a sequence (context parallelism)", "ranks"),
        "cluster.timeout": Row(SECONDS, "that a rank waits for the others", "s"),
        "cluster.threads": Row(Number(1, 4096, whole=True), "of each process", "threads"),
        "cluster.dtype": Row(choice(*DTYPES), "of forward, backward and the engine"),
        "cluster.gpu_memory_gib": Row(POSITIVE_OR_NULL, "of each GPU; null: there is none", "GiB"),
        "cluster.host_memory_gib": Row(POSITIVE_OR_NULL, "of each node; null: as this machine has", "GiB"),
        "cluster.speed.tflops": Row(POSITIVE, "of each process, dense products in cluster.dtype", "TFLOP/s"),
        "cluster.speed.memory_gb_s": Row(POSITIVE, "of each process's memory", "GB/s"),
        "cluster.speed.node_gb_s": Row(POSITIVE, "to another process on the node, each way", "GB/s"),
        "cluster.speed.network_gb_s": Row(POSITIVE, "to a process on another node", "GB/s"),
    },
)
