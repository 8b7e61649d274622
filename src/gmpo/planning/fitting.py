"""The check that a recipe fits its cluster, and the smallest change that makes it fit."""

from collections.abc import Iterable, Mapping
from itertools import combinations, product
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gmpo.config import check_recipe, layout_of
from gmpo.planning import memory
from gmpo.planning.memory import RESERVE, Parts, Shard
from gmpo.planning.recipe import VLLM, Recipe

Change = dict[str, Any]  # values by key
MOST_AT_ONCE = 3  # changes together
MEMORY_SHARES = (0.85, 0.7, 0.6, 0.5, 0.4, 0.3)


def check_fits(cfg: DictConfig) -> None:
    """Raise ValueError, with the arithmetic and the smallest change, where a model of known sizes cannot fit the GPUs.

    Checks nothing where there is no GPU, or where the formulas do not cover the model.
    """
    if cfg.cluster.gpu_memory_gib is None:
        return
    try:
        recipe = Recipe.of(cfg)
    except ValueError:
        return
    if complaints := complaints_of(recipe, memory.shard_of(recipe)):
        raise ValueError(
            f"this recipe does not fit the cluster: {'; '.join(complaints)}. {in_words(smallest_change(cfg))}. "
            "`python plan.py` with the same arguments shows everything. Give your machines' memory by "
            "cluster.gpu_memory_gib and cluster.host_memory_gib; cluster.gpu_memory_gib=null skips this check"
        )


def limit_gib(recipe: Recipe) -> float:
    """Return the memory of a rank: a GPU's, or its part of a machine's."""
    return recipe.gpu_gib if recipe.gpu_gib is not None else recipe.host_gib / recipe.devices


def complaints_of(recipe: Recipe, shard: Shard) -> list[str]:
    """Return everything that does not fit, with its arithmetic; an empty list if all fits."""
    found = []
    limit = limit_gib(recipe)
    for phase, parts in memory.phases(recipe, shard).items():
        # the engine takes its share to the last byte; what the formulas give needs a reserve
        most = limit if phase == "generate" else limit * (1 - RESERVE)
        if (total := sum(parts.values())) > most:
            found.append(f"{phase} needs {total:.1f} GiB of {most:.1f} GiB on each rank: {_sum(parts)}")
    if recipe.gpu:
        host, most = memory.host(recipe, shard), recipe.host_gib * (1 - RESERVE)
        if (total := sum(host.values())) > most:
            found.append(f"the host needs {total:.0f} GiB of {most:.0f} GiB on a node: {_sum(host)}")
    if recipe.engine == VLLM and not memory.concurrent_sequences(recipe, recipe.engine_tokens):
        found.append(
            f"an engine's KV cache of {memory.kv_cache(recipe):.1f} GiB on each rank does not hold one sequence of "
            f"{recipe.engine_tokens} tokens"
        )
    return found


def smallest_change(cfg: DictConfig) -> Change | None:
    """Return the first change that helps: one setting before two or three, the fastest first, more machines last.

    None where none of those tried helps.
    """
    settings = _possible(cfg, _settings(cfg))
    machines = _possible(cfg, [[{"cluster.nodes": cfg.cluster.nodes * times} for times in (2, 4, 8, 16)]])
    sets = [chosen for several in range(1, MOST_AT_ONCE + 1) for chosen in combinations(settings, several)]
    sets += [(*machines, *chosen) for several in range(MOST_AT_ONCE) for chosen in combinations(settings, several)]
    for chosen in sets:
        strongest = _together(alternatives[-1] for alternatives in chosen)
        if len(strongest) < len(chosen):  # two of them set the same key
            continue
        recipe = _recipe(cfg, strongest)
        if recipe is None or not complaints_of(recipe, memory.shard_of(recipe)):
            found = next((change for change in map(_together, product(*chosen)) if _fits(cfg, change)), None)
            if found is not None:
                return found
    return None


def in_words(change: Change | None) -> str:
    """Return a change as the last sentence of a message."""
    if change is None:
        return "No change that was tried makes it fit: take a larger cluster or a smaller model"
    words = [f"{key}={_typed(value)}" for key, value in change.items()]
    return f"The smallest change that makes it fit: {' '.join(words)}"


def changed(cfg: DictConfig, change: Mapping[str, Any]) -> DictConfig:
    """Return a copy of the config with other values."""
    copy = cfg.copy()
    for key, value in change.items():
        OmegaConf.update(copy, key, value)
    return copy


def _settings(cfg: DictConfig) -> list[list[Change]]:
    """Return the alternatives of each kind, from mild to most effective; kinds in the order of their cost in time."""
    least = -(-(cfg.data.max_prompt_tokens + cfg.sampling.max_tokens) // layout_of(cfg).cp)
    sharding, engine = cfg.sharding, cfg.rollout.engine
    kinds: list[list[Change]] = [
        [{"batch.max_tokens_per_micro_batch": n} for n in _halvings(cfg.batch.max_tokens_per_micro_batch, least)],
        [{"batch.max_tokens_per_log_prob_batch": n} for n in _halvings(cfg.batch.max_tokens_per_log_prob_batch, least)],
        [{"checkpoint.asynchronous": False}] if cfg.checkpoint.asynchronous else [],
        [{"policy.reference_on_cpu": True}] if cfg.kl.coefficient and not cfg.policy.reference_on_cpu else [],
        [{"sharding.reduce_gradients": "shards"}] if sharding.reduce_gradients == "last" else [],
    ]
    if "gpu_memory_utilization" in engine:  # the cache needs more, the trainer less: no value is best for both
        kinds += [
            [{"rollout.engine.gpu_memory_utilization": share}]
            for share in MEMORY_SHARES
            if share != engine.gpu_memory_utilization
        ]
    kinds += [[{"sharding.checkpointing": "all"}] if sharding.checkpointing != "all" else []]
    if "tensor_parallel" in engine:
        sizes = [engine.tensor_parallel * times for times in (2, 4, 8)]
        kinds += [[{"rollout.engine.tensor_parallel": size} for size in sizes if size <= cfg.cluster.devices]]
    kinds += [[{"sharding.offload": True}] if not sharding.offload else []]
    return [*kinds, [{"cluster.cp": cfg.cluster.cp * times} for times in (2, 4, 8)]]


def _possible(cfg: DictConfig, kinds: list[list[Change]]) -> list[list[Change]]:
    """Return the alternatives that are consistent with everything else, whether they fit or not."""
    possible = [[change for change in alternatives if _recipe(cfg, change)] for alternatives in kinds]
    return [alternatives for alternatives in possible if alternatives]


def _halvings(budget: int, least: int) -> list[int]:
    found = []
    while budget // 2 >= least:
        budget //= 2
        found.append(budget)
    return [*found, least] if budget > least else found


def _together(changes: Iterable[Change]) -> Change:
    return {key: value for change in changes for key, value in change.items()}


def _recipe(cfg: DictConfig, change: Change) -> Recipe | None:
    """Return the recipe with a change; None where the values are then inconsistent."""
    try:
        other = changed(cfg, change)
        check_recipe(other)
        return Recipe.of(other)
    except ValueError:
        return None


def _fits(cfg: DictConfig, change: Change) -> bool:
    recipe = _recipe(cfg, change)
    return recipe is not None and not complaints_of(recipe, memory.shard_of(recipe))


def _sum(parts: Parts) -> str:
    large = {name: size for name, size in parts.items() if size >= 0.05}
    return " + ".join(f"{name} {size:.1f}" for name, size in sorted(large.items(), key=lambda item: -item[1]))


def _typed(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
