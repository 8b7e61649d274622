"""Where the denominator of the ratios comes from, as policy.old_log_probs=auto decides it."""

from omegaconf import DictConfig, OmegaConf

from gmpo.config.signatures import declares


def old_log_probs(cfg: DictConfig) -> str:
    """Return policy.old_log_probs of a config, trainer or rollout where it is auto.

    auto is rollout where a pass of the trainer gives the same, or is of newer weights. It gives the same in float32 on
    a CPU (on a GPU products may be of less precision), with whole distributions. With a correction it is the trainer's:
    the engine's would leave nothing to correct.
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
    """Return whether the mismatch between engine and trainer is weighed."""
    return not declares(cfg.correction._target_, "corrects_nothing")
