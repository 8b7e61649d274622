"""Settings of the model, the engine, the ranks and their machines."""

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
SIZES = (  # integers of a model's config.json
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
        "model.experts": Row(TEXT_OR_NULL, "experts of a mixture; null: grouped matrix products; or eager"),
        "model.trust_remote_code": Row(SWITCH, "run code that comes with the model on this machine"),
        "model.overrides": Row(Keys("keys of config.json: +model.overrides.KEY=VALUE"), "changes to its config.json"),
        "model.shape": Row(
            or_null(Keys()), "its config.json for the planner, where neither folder nor hub is reachable"
        ),
        "model.make": Row(or_null(Keys()), "settings of a model that the project trains itself"),
        "model.make.kinds": Row(ListOf(Text(empty=False), '["3+2"]'), "kinds of arithmetic that it is pretrained on"),
        "model.make.seed": Row(COUNT, "seed of its weights and pretraining"),
    },
)
CONFIG_JSON = Section("Keys of config.json", _sizes("model.overrides") | _sizes("model.shape"))
ROLLOUT = Section(
    "Engine",
    {
        "rollout.package": Row(TEXT, "the package that generates"),
        "rollout.async_steps": Row(
            choice(0, 1),
            "1: generate the next step's responses during the update, from weights one step old",
            "steps",
        ),
        "rollout.subprocess": Row(SWITCH, "run the engine in its own process, restarted if it dies"),
        "rollout.first_gpu": Row(
            or_null(COUNT),
            "for an engine in its own process: rank i of a node uses GPU first_gpu + i; null: the trainer's",
        ),
        "rollout.timeout": Row(SECONDS, "time without a finished response after which an engine counts as hung", "s"),
        "rollout.engine.max_model_len": Row(SIZE, "the longest prompt and response together", "tokens"),
        "rollout.engine.max_num_seqs": Row(SIZE, "generated in parallel", "sequences"),
        "rollout.engine.max_num_batched_tokens": Row(SIZE, "limit of one forward pass of vLLM", "tokens"),
        "rollout.engine.kv_cache_gib": Row(SIZE, "KV cache on a CPU", "GiB"),
        "rollout.engine.block_size": Row(SIZE_OR_NULL, "size of a block of the KV cache", "tokens"),
        "rollout.engine.gpu_memory_utilization": Row(FRACTION, "fraction of a GPU's memory that vLLM takes"),
        "rollout.engine.tensor_parallel": Row(SIZE, "ranks that one engine spans", "ranks"),
        "rollout.engine.enable_sleep_mode": Row(SWITCH, "free the GPU's memory for the update between generations"),
        "rollout.engine.trust_remote_code": Row(SWITCH, "as model.trust_remote_code"),
        "rollout.engine.dtype": Row(choice(*DTYPES), "as cluster.dtype"),
    },
)
CLUSTER = Section(
    "Cluster",
    {
        "cluster.accelerator": Row(choice("cpu", "gpu"), "device type"),
        "cluster.devices": Row(SIZE, "ranks on each node", "ranks"),
        "cluster.nodes": Row(SIZE, "machines", "nodes"),
        "cluster.dp_replicate": Row(SIZE, "copies of the parameters", "copies"),
        "cluster.dp_shard": Row(
            SIZE_OR_NULL, "ranks that share a copy, each with its own sequences; null: all", "ranks"
        ),
        "cluster.cp": Row(SIZE, "ranks that share a sequence (context parallelism)", "ranks"),
        "cluster.timeout": Row(SECONDS, "how long a rank waits for the others", "s"),
        "cluster.threads": Row(Number(1, 4096, whole=True), "threads of each process", "threads"),
        "cluster.dtype": Row(choice(*DTYPES), "precision of forward, backward and the engine"),
        "cluster.gpu_memory_gib": Row(POSITIVE_OR_NULL, "memory of each GPU; null: there is none", "GiB"),
        "cluster.host_memory_gib": Row(
            POSITIVE_OR_NULL, "memory of each node; null: as much as this machine has", "GiB"
        ),
        "cluster.speed.tflops": Row(POSITIVE, "rate of each process, for dense products in cluster.dtype", "TFLOP/s"),
        "cluster.speed.memory_gb_s": Row(POSITIVE, "bandwidth of each process's memory", "GB/s"),
        "cluster.speed.node_gb_s": Row(POSITIVE, "bandwidth to another process on the node, each way", "GB/s"),
        "cluster.speed.network_gb_s": Row(POSITIVE, "bandwidth to a process on another node", "GB/s"),
    },
)
