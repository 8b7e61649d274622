"""The source of the ratios' denominator that policy.old_log_probs=auto chooses."""

from omegaconf import DictConfig, OmegaConf

from gmpo.config.signatures import declares


def old_log_probs(cfg: DictConfig) -> str:
    """Return policy.old_log_probs of a config, with auto resolved to trainer or rollout.

    auto means rollout where a pass of the trainer would give the same values, or has newer weights. The values are the
    same in float32 on a CPU (on a GPU products may be less precise) with untruncated distributions. With a correction
    auto means trainer: the engine's log-probs would leave nothing to correct.
    """
    chosen: str = cfg.policy.old_log_probs
    if chosen != "auto":
        return chosen
    if is_corrected(cfg):
        return "trainer"
    types = {cfg.cluster.dtype, OmegaConf.select(cfg, "rollout.engine.dtype")}
    exact = types == {"float32"} and cfg.cluster.accelerator == "cpu"
    whole = cfg.sampling.top_p == 1 and cfg.sampling.top_k == 0
    ahead = OmegaConf.select(cfg, "rollout.async_steps", default=0)
    return "rollout" if (exact and whole) or ahead else "trainer"


def is_corrected(cfg: DictConfig) -> bool:
    """Return whether the loss is corrected for the engine/trainer mismatch."""
    return not declares(cfg.correction._target_, "corrects_nothing")
