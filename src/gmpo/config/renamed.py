"""Renamed keys: for one release each is refused with its new name."""

from collections.abc import Mapping

from gmpo.config.tree import Tree, has

RENAMED = {
    "rollout.engine.memory_share": "rollout.engine.gpu_memory_utilization",
    "rollout.engine.max_sequences": "rollout.engine.max_num_seqs",
    "rollout.engine.max_batched_tokens": "rollout.engine.max_num_batched_tokens",
    "rollout.engine.max_tokens": "rollout.engine.max_model_len",
    "rollout.engine.sleeps": "rollout.engine.enable_sleep_mode",
    "rollout.own_process": "rollout.subprocess",
    "rollout.requires": "rollout.package",
    "policy.skip_zero_signal": "policy.skip_zero_advantage",
    "policy.logits_at_once": "policy.max_logits_per_chunk",
    "policy.source": "policy.pretrained",
    "data.over_long": "data.long_prompts",
    "data.source": "data.dataset",
    "callbacks.faults": "callbacks.skipped_updates",
}


def renamed(key: str, table: Mapping[str, str] = RENAMED) -> str | None:
    """Return a sentence with the new name of a renamed key or part; None for any other key."""
    for old, new in table.items():
        if key == old or key.startswith(f"{old}."):
            return f"{key} is now {new}{key.removeprefix(old)}"
    return None


def check_renamed(cfg: Tree, table: Mapping[str, str] = RENAMED) -> None:
    """Raise ValueError for old names beside the new ones in a composed config: an experiment's file has them."""
    found = [f"{old} is now {new}" for old, new in table.items() if has(cfg, old) and has(cfg, new)]
    if found:
        raise ValueError(f"{'; '.join(found)}: change it in the file of the experiment, or of the group")
