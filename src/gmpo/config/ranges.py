"""Numbers of the config: which are finite, and what each may be."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from omegaconf import DictConfig, ListConfig, OmegaConf


@dataclass(frozen=True)
class Range:
    """A range of numbers, for one key of the config.

    least, most: bounds that may be met, least only unless `above` is set. whole: an integer. null: may be left out.
    note: what a message adds.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    whole: bool = False
    null: bool = False
    note: str = ""

    def holds(self, value: object) -> bool:
        """Return whether a value of the config is within the range."""
        if value is None:
            return self.null
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return math.isfinite(value) and self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        bounds = ""
        if self.most < math.inf:
            bounds = f" {'above' if self.above else 'from'} {self.least:g} to {self.most:g}"
        elif self.least > -math.inf:
            bounds = f" {'above' if self.above else 'of at least'} {self.least:g}"
        return f"a {'whole ' * self.whole}number{bounds}{', or null' * self.null}{self.note}"


SIZE = Range(1, whole=True)
SIZE_OR_NULL = Range(1, whole=True, null=True)
COUNT = Range(0, whole=True)
POSITIVE = Range(0, above=True)
SECONDS = Range(0, 1e8, above=True)
POSITIVE_OR_NULL = Range(0, above=True, null=True)
OFF_AT_0 = "; 0 switches it off"

# a name may hold * for any key; what a class of this project checks itself is left to it
RANGES = {
    "run.steps": SIZE,
    "run.validate_every": SIZE_OR_NULL,
    "run.seed": COUNT,
    "checkpoint.every": SIZE,
    "checkpoint.keep": SIZE,
    "checkpoint.failures": SIZE,
    "checkpoint.minutes": POSITIVE_OR_NULL,
    "checkpoint.grace": SECONDS,
    "batch.*": SIZE,
    "data.max_prompt_tokens": SIZE,
    "data.validation_limit": SIZE_OR_NULL,
    "data.limit": SIZE_OR_NULL,
    "*held_out": COUNT,
    "*.train_size": COUNT,
    "*.validation_size": COUNT,
    "sampling.samples": SIZE,
    "sampling.max_tokens": SIZE,
    "sampling.temperature": Range(0),
    "sampling.top_p": Range(0, 1, above=True),
    "sampling.top_k": COUNT,
    "validation.samples": SIZE,
    "validation.max_tokens": SIZE,
    "validation.temperature": Range(0),
    "validation.top_p": Range(0, 1, above=True),
    "validation.top_k": COUNT,
    "overlong.buffer": Range(0, note=OFF_AT_0),
    "overlong.factor": Range(0, note=OFF_AT_0),
    "kl.coefficient": Range(0, note=OFF_AT_0),
    "entropy.coefficient": Range(note=OFF_AT_0),
    "optimizer.lr": Range(0),
    "optimizer.weight_decay": Range(0, note=OFF_AT_0),
    "optimizer.eps": Range(0),
    "optimizer.betas.*": Range(0, 1),
    "optimizer.momentum": Range(0, 1),
    "schedule.start_factor": Range(0, 1, above=True),
    "schedule.end_factor": Range(0, 1),
    "schedule.total_iters": Range(1, whole=True, note="; schedule.start_factor=1.0 leaves out the warm-up"),
    "policy.gradient_clip": Range(0, above=True, null=True, note=", which switches it off"),
    "policy.max_logits_per_chunk": SIZE_OR_NULL,
    "policy.max_skipped_steps": SIZE,
    "guards.*.low": Range(null=True),
    "guards.*.high": Range(null=True),
    "rollout.first_gpu": Range(0, whole=True, null=True),
    "rollout.engine.max_num_seqs": SIZE,
    "rollout.engine.max_num_batched_tokens": SIZE,
    "rollout.engine.block_size": SIZE_OR_NULL,
    "rollout.engine.kv_cache_gib": SIZE,
    "rollout.engine.gpu_memory_utilization": Range(0, 1, above=True),
    "cluster.devices": SIZE,
    "cluster.nodes": SIZE,
    "cluster.threads": Range(1, 4096, whole=True),
    "cluster.timeout": SECONDS,
    "cluster.gpu_memory_gib": POSITIVE_OR_NULL,
    "cluster.host_memory_gib": POSITIVE_OR_NULL,
    "cluster.speed.*": POSITIVE,
    "callbacks.progress.every": POSITIVE,
    "callbacks.rollout_table.groups": COUNT,
    "callbacks.rollout_table.validation_groups": COUNT,
    "callbacks.evaluation.solved_at": Range(),
    "callbacks.evaluation.pass_k.*": SIZE,
    "pass_k.*": SIZE,
    "correction.low": Range(0),
    "correction.high": POSITIVE,
    "reward.processes": SIZE_OR_NULL,
    "reward.timeout": POSITIVE_OR_NULL,
    "reward.memory_gib": POSITIVE_OR_NULL,
    "reward.weights.*": Range(),
}


def check_numbers(cfg: DictConfig) -> None:
    """Raise ValueError, naming the key, for a number that is not finite, and for a value outside its range."""
    for name, value, refers in _leaves(cfg):
        allowed = next((found for pattern, found in RANGES.items() if fnmatchcase(name, pattern)), None)
        if refers:
            if allowed is None:
                continue  # the key that it refers to is checked
            value = OmegaConf.select(cfg, name)
        if isinstance(value, float) and not math.isfinite(value):
            off = ", or null" if allowed is not None and allowed.null else ""
            raise ValueError(f"{name}={value} must be a finite number{off}")
        if allowed is not None and not allowed.holds(value):
            raise ValueError(f"{name}={value} must be {allowed}")


def _leaves(node: object, name: str = "") -> Iterator[tuple[str, object, bool]]:
    """Yield each leaf's name, its value, and whether it is an interpolation, which is not resolved here."""
    if isinstance(node, DictConfig | ListConfig) and not (node._is_none() or node._is_missing()):
        keys = range(len(node)) if isinstance(node, ListConfig) else list(node)
        for key in keys:
            inner = f"{name}.{key}" if name else str(key)
            if OmegaConf.is_interpolation(node, key):
                yield inner, None, True
            else:
                yield from _leaves(node[key], inner)
    else:
        yield name, node, False
