"""What a composed config must satisfy before anything heavy is imported or started."""

import logging
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from gmpo.launch import launch
from gmpo.layout import Layout, check_tensor_parallel, kv_repeats
from gmpo.model_files import TOKENIZER_FILES, local_config

log = logging.getLogger(__name__)

GROUP_RELATIVE = ("gmpo.advantages.GroupNorm", "gmpo.advantages.LeaveOneOut")

DTYPES = ("bfloat16", "float16", "float32", "float64")

OmegaConf.register_new_resolver("sum", lambda *numbers: sum(numbers), replace=True)
OmegaConf.register_new_resolver("max", lambda *numbers: max(numbers), replace=True)
OmegaConf.register_new_resolver(
    "unless_null", lambda value, then, other: other if value is None else then, replace=True
)
OmegaConf.register_new_resolver(
    "unless_cpu", lambda accelerator, then: None if accelerator == "cpu" else then, replace=True
)


def check(cfg: DictConfig) -> None:
    """Raise ValueError, naming the value and the remedy, for what does not go together, or is not on this machine."""
    check_recipe(cfg)
    _check_launch(cfg)
    _check_packages(cfg)
    _check_model_folder(cfg)


def check_recipe(cfg: DictConfig) -> None:
    """Raise ValueError for values that do not go together, on whatever machine."""
    _check_complete(cfg)
    _check_cluster(cfg)
    _check_overrides(cfg)
    _check_whole_numbers(cfg)
    _check_numbers_and_switches(cfg)
    _check_batch(cfg)
    _check_ranks(cfg)
    _check_lengths(cfg)
    _check_temperature(cfg)
    _check_old_log_probs(cfg)
    _check_positions(cfg)
    _check_saving(cfg)


def _check_saving(cfg: DictConfig) -> None:
    at_least_1(cfg, ["checkpoint.every", "checkpoint.keep", "checkpoint.failures", "policy.max_skipped_steps"], [])
    for name in ("checkpoint.minutes", "checkpoint.grace"):
        value = OmegaConf.select(cfg, name)
        if (value is not None or name != "checkpoint.minutes") and not (_is_number(value) and value > 0):
            raise ValueError(f"{name}={value} must be a number above 0{', or null' if 'minutes' in name else ''}")
    for name in ("checkpoint.asynchronous", "checkpoint.requeue"):
        if not isinstance(OmegaConf.select(cfg, name), bool):
            raise ValueError(f"{name}={OmegaConf.select(cfg, name)} must be true or false")
    if cfg.checkpoint.mode not in ("max", "min"):
        raise ValueError(f"checkpoint.mode={cfg.checkpoint.mode} must be max or min")
    best = cfg.checkpoint.best
    if best is not None and "/" not in str(best):
        raise ValueError(f"checkpoint.best={best} is no metric's name, such as val/gsm8k/mean@1; null keeps none")
    if not isinstance(cfg.resume, str):
        raise ValueError(f"resume={cfg.resume} must be auto, never, a run's folder or a checkpoint")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_evaluation(cfg: DictConfig) -> None:
    """As `check`, for `python evaluate.py`."""
    _check_complete(cfg)
    _check_cluster(cfg)
    _check_overrides(cfg)
    at_least_1(cfg, ["data.max_prompt_tokens", "sampling.max_tokens", "sampling.samples"], optional=["data.limit"])
    _check_seed(cfg)
    for name in ("sampling.temperature", "sampling.top_p"):
        if not _is_number(value := OmegaConf.select(cfg, name)):
            raise ValueError(f"{name}={value} must be a number")
    if not cfg.benchmark:
        raise ValueError(
            "benchmark=none leaves nothing to evaluate on: choose some, such as benchmark=[aime24,math500]"
        )
    if not isinstance(cfg.pass_k, ListConfig):
        raise ValueError(f"pass_k={cfg.pass_k} must be a list, such as pass_k=[1,8]")
    unfit = [k for k in cfg.pass_k if type(k) is not int or not 1 <= k <= cfg.sampling.samples]
    if unfit:
        raise ValueError(f"pass_k={unfit} must lie between 1 and sampling.samples={cfg.sampling.samples}: sample more")
    _check_packages(cfg)
    _check_model_folder(cfg)
    _check_positions(cfg)


def _check_complete(cfg: DictConfig) -> None:
    missing = sorted(_missing_keys(cfg))
    if missing:
        raise ValueError(f"no value for {', '.join(missing)}: set each by key=value, or choose an experiment that does")


def _missing_keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys left at ???, without resolving what refers to them."""
    for key in map(str, cfg):
        if OmegaConf.is_missing(cfg, key):
            yield f"{prefix}{key}"
        elif not OmegaConf.is_interpolation(cfg, key) and OmegaConf.is_dict(cfg._get_node(key)):
            yield from _missing_keys(cfg[key], f"{prefix}{key}.")


def _check_whole_numbers(cfg: DictConfig) -> None:
    names = ["run.steps", "data.max_prompt_tokens", "sampling.max_tokens"]
    names += ["validation.max_tokens", "validation.samples"]
    names += [f"batch.{key}" for key in cfg.batch]
    at_least_1(cfg, names, optional=["run.validate_every", "data.validation_limit", "policy.logits_at_once"])
    _check_seed(cfg)


def _check_seed(cfg: DictConfig) -> None:
    if type(cfg.run.seed) is not int or cfg.run.seed < 0:
        raise ValueError(f"run.seed={cfg.run.seed} must be a whole number of at least 0")


def at_least_1(cfg: DictConfig, names: Sequence[str], optional: Sequence[str]) -> None:
    """Raise ValueError unless these are whole numbers of at least 1; the optional ones may be null."""
    for name in [*names, *optional]:
        value = OmegaConf.select(cfg, name)
        if (value is not None or name in names) and (type(value) is not int or value < 1):
            off = ", or null" if name in optional else ""
            raise ValueError(f"{name}={value} must be a whole number of at least 1{off}")


def _check_numbers_and_switches(cfg: DictConfig) -> None:
    for name in ("kl.coefficient", "entropy.coefficient", "overlong.factor", "overlong.buffer"):
        value = OmegaConf.select(cfg, name)
        if not _is_number(value):
            raise ValueError(f"{name}={value} must be a number; 0 switches it off")
    for name in ("overlong.filter_truncated", "policy.skip_zero_signal", "policy.reference_on_cpu"):
        if not isinstance(OmegaConf.select(cfg, name), bool):
            raise ValueError(f"{name}={OmegaConf.select(cfg, name)} must be true or false")


def _check_batch(cfg: DictConfig) -> None:
    batch = cfg.batch
    steps, rest = divmod(batch.prompts, batch.mini_batch_prompts)
    if rest:
        raise ValueError(
            f"batch.mini_batch_prompts={batch.mini_batch_prompts} does not divide batch.prompts={batch.prompts}: "
            f"{batch.prompts} = {steps} x {batch.mini_batch_prompts} + {rest}. "
            f"Choose one of {', '.join(map(str, divisors(batch.prompts)))}"
        )
    if batch.group_size < 2 and cfg.advantage._target_ in GROUP_RELATIVE:
        raise ValueError(
            f"batch.group_size={batch.group_size} with the group-relative advantage {cfg.advantage._target_}: "
            "a single response has nothing to be compared with and every advantage would be 0. "
            "Set batch.group_size to 2 or more"
        )


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def _check_lengths(cfg: DictConfig) -> None:
    longest = cfg.data.max_prompt_tokens + cfg.sampling.max_tokens
    cp = cfg.cluster.cp
    for key in ("max_tokens_per_micro_batch", "max_tokens_per_log_prob_batch"):
        if longest > cfg.batch[key] * cp:
            ranks = f" x cluster.cp={cp}" if cp > 1 else ""
            raise ValueError(
                f"data.max_prompt_tokens={cfg.data.max_prompt_tokens} + sampling.max_tokens={cfg.sampling.max_tokens} "
                f"= {longest} tokens do not fit batch.{key}={cfg.batch[key]}{ranks}: raise it to at least "
                f"{-(-longest // cp)}"
            )


def _check_temperature(cfg: DictConfig) -> None:
    temperature = cfg.sampling.temperature
    if not isinstance(temperature, int | float) or temperature <= 0:
        raise ValueError(
            f"sampling.temperature={temperature}: responses of a group must differ to be compared, so "
            "training samples at a temperature above 0 (validation.temperature may be 0)"
        )


def _check_old_log_probs(cfg: DictConfig) -> None:
    correction = cfg.correction._target_
    if cfg.policy.old_log_probs != "rollout":
        return
    if cfg.sampling.top_p != 1 or cfg.sampling.top_k != 0:
        raise ValueError(
            f"policy.old_log_probs=rollout with sampling.top_p={cfg.sampling.top_p}, sampling.top_k="
            f"{cfg.sampling.top_k}: the engine reports log-probs of the truncated distribution and the trainer those "
            "of the whole one, so ratios would be off from the start. Choose policy.old_log_probs=trainer, or top_p=1 "
            "and top_k=0"
        )
    if correction != "gmpo.objectives.NoCorrection":
        raise ValueError(
            f"policy.old_log_probs=rollout with the correction {correction}: the ratios start from the engine's "
            "log-probs, which leaves no mismatch to correct. Choose correction=none or policy.old_log_probs=trainer"
        )


def _check_ranks(cfg: DictConfig) -> None:
    at_least_1(cfg, ["cluster.devices", "cluster.nodes", "cluster.threads"], optional=[])
    cluster, layout = cfg.cluster, layout_of(cfg)
    per_engine = OmegaConf.select(cfg, "rollout.engine.tensor_parallel", default=1)
    if type(per_engine) is not int or per_engine < 1 or layout.world_size % per_engine:
        raise ValueError(
            f"rollout.engine.tensor_parallel={per_engine} must divide the {layout.world_size} ranks of "
            f"cluster.devices={cluster.devices} x cluster.nodes={cluster.nodes}: choose one of "
            f"{', '.join(map(str, divisors(layout.world_size)))}"
        )
    engines = layout.world_size // per_engine
    if cfg.batch.prompts % engines:
        raise ValueError(
            f"batch.prompts={cfg.batch.prompts} cannot be shared by {engines} engines ({layout.world_size} ranks / "
            f"rollout.engine.tensor_parallel={per_engine}): {cfg.batch.prompts} = {cfg.batch.prompts // engines} x "
            f"{engines} + {cfg.batch.prompts % engines}. Choose a multiple of {engines}"
        )
    if (config := model_config(cfg)) is not None:
        heads = config.get("num_attention_heads", 1)
        kv_heads = config.get("num_key_value_heads") or heads
        kv_repeats(heads, kv_heads, layout.cp)
        width = config.get("moe_intermediate_size") or config.get("intermediate_size")
        check_tensor_parallel(per_engine, heads, kv_heads, width)


def _check_launch(cfg: DictConfig) -> None:
    cluster = cfg.cluster
    if cluster.nodes > 1 and not launch().is_external:
        raise ValueError(
            f"cluster.nodes={cluster.nodes}: on several nodes all processes are started from outside: srun python "
            f"train.py ..., or torchrun --nnodes {cluster.nodes} --nproc-per-node {cluster.devices} train.py ... on "
            "each node"
        )


def layout_of(cfg: DictConfig) -> Layout:
    """How the ranks of a config are arranged; raises ValueError where they cannot be."""
    cluster = cfg.cluster
    return Layout.of(cluster.devices * cluster.nodes, cluster.dp_replicate, cluster.dp_shard, cluster.cp)


def _check_packages(cfg: DictConfig) -> None:
    package = cfg.rollout.requires
    if find_spec(package) is None:
        raise ValueError(
            f"this rollout needs the package {package}, which is not installed: run `make setup` for a CPU "
            "(extra cpu) or `pip install '.[gpu]'` for a GPU, or generate with rollout=transformers"
        )


def _check_positions(cfg: DictConfig) -> None:
    positions = (model_config(cfg) or {}).get("max_position_embeddings")
    response = max(cfg.sampling.max_tokens, cfg.validation.max_tokens)
    if positions is not None and cfg.data.max_prompt_tokens + response > positions:
        raise ValueError(
            f"data.max_prompt_tokens={cfg.data.max_prompt_tokens} + {response} tokens of a response "
            f"(sampling.max_tokens) are more than the {positions} positions of the model {cfg.model.path}: lower "
            "one, or raise them by +model.overrides.max_position_embeddings=NUMBER where the model bears it"
        )


def model_config(cfg: DictConfig) -> dict[str, Any] | None:
    """What config.json says with model.overrides: of the folder, of the hub's cache, or as model.shape has it.

    None where none of them is there: the hub is not asked.
    """
    path, shape = cfg.model.path, cfg.model.shape
    found = None if path is None else local_config(str(path))
    if found is None and shape is not None and shape.get("of", path) == path:
        found = {key: value for key, value in _plain(shape).items() if key != "of"}
    return None if found is None else {**found, **_plain(cfg.model.overrides)}


def _plain(node: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]


def _check_overrides(cfg: DictConfig) -> None:
    if not isinstance(cfg.model.overrides, DictConfig):
        raise ValueError(
            f"model.overrides={cfg.model.overrides} must hold keys of config.json: +model.overrides.KEY=VALUE"
        )


def _check_cluster(cfg: DictConfig) -> None:
    cluster = cfg.cluster
    if cluster.accelerator not in ("cpu", "gpu"):
        raise ValueError(f"cluster.accelerator={cluster.accelerator} must be cpu or gpu")
    if cluster.dtype not in DTYPES:
        raise ValueError(f"cluster.dtype={cluster.dtype} must be one of {', '.join(DTYPES)}")
    for name in ("gpu_memory_gib", "host_memory_gib", *(f"speed.{key}" for key in cluster.speed)):
        value = OmegaConf.select(cluster, name)
        if value is None and "memory_gib" in name:
            continue
        if not (_is_number(value) and value > 0):
            raise ValueError(f"cluster.{name}={value} must be a number above 0")


def _check_model_folder(cfg: DictConfig) -> None:
    path = cfg.model.path
    if not isinstance(cfg.model.trust_remote_code, bool):
        raise ValueError(f"model.trust_remote_code={cfg.model.trust_remote_code} must be true or false")
    if cfg.model.trust_remote_code:
        log.warning("model.trust_remote_code=true: code that comes with the model %s runs on this machine", path)
    if path is None and cfg.model.make is not None:
        return  # the project makes this model itself
    if not isinstance(path, str):
        raise ValueError(f"model.path={path} must be a folder or an id on the hub")
    folder = Path(path)
    if not folder.exists():
        if path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise ValueError(f"model.path={path} does not exist; give a folder or an id on the hub (~ is not expanded)")
        return  # an id on the hub
    if not (folder / "config.json").is_file():
        raise ValueError(f"model.path={folder} holds no config.json: it is not a model in the Hugging Face format")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ValueError(
            f"model.path={folder} holds no tokenizer (none of {', '.join(TOKENIZER_FILES)}): save it there with "
            "tokenizer.save_pretrained(FOLDER)"
        )
