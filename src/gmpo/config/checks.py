"""What a composed config must satisfy before anything heavy is imported or started."""

from omegaconf import DictConfig, ListConfig, OmegaConf

from gmpo.config.cluster import check_cluster, check_launch, check_ranks
from gmpo.config.model import check_model_folder, check_overrides, check_packages, check_positions, check_weights_of
from gmpo.config.ranges import check_numbers
from gmpo.config.trainer import check_trainer
from gmpo.config.values import check_complete, check_texts, divisors
from gmpo.config.wiring import check_wiring

GROUP_RELATIVE = ("gmpo.advantages.GroupNorm", "gmpo.advantages.LeaveOneOut")


def check(cfg: DictConfig) -> None:
    """Raise ValueError, naming the value and the remedy, for what does not go together, or is not on this machine."""
    check_recipe(cfg)
    check_launch(cfg)
    check_packages(cfg)
    check_model_folder(cfg)
    check_weights_of(cfg, trained=True)


def check_recipe(cfg: DictConfig) -> None:
    """Raise ValueError for values that do not go together, on whatever machine."""
    check_wiring(cfg)
    check_complete(cfg)
    check_numbers(cfg)
    check_cluster(cfg)
    check_overrides(cfg)
    check_texts(cfg, ["sampling.stop", "validation.stop"])
    _check_pass_k(cfg, "callbacks.evaluation.pass_k", "validation.samples")
    _check_switches(cfg)
    _check_batch(cfg)
    check_ranks(cfg)
    _check_lengths(cfg)
    _check_temperature(cfg)
    _check_old_log_probs(cfg)
    _check_ahead(cfg)
    check_positions(cfg)
    _check_saving(cfg)
    check_trainer(cfg)


def check_evaluation(cfg: DictConfig) -> None:
    """As `check`, for `python evaluate.py`."""
    check_complete(cfg)
    check_numbers(cfg)
    check_cluster(cfg)
    check_overrides(cfg)
    check_texts(cfg, ["sampling.stop"])
    if not cfg.benchmark:
        raise ValueError(
            "benchmark=none leaves nothing to evaluate on: choose some, such as benchmark=[aime24,math500]"
        )
    _check_pass_k(cfg, "pass_k", "sampling.samples")
    check_packages(cfg)
    check_model_folder(cfg)
    check_weights_of(cfg, trained=False)
    check_positions(cfg)


def _check_pass_k(cfg: DictConfig, name: str, samples_name: str) -> None:
    """Raise ValueError where pass@k is asked for with more responses than are sampled."""
    values, samples = OmegaConf.select(cfg, name), OmegaConf.select(cfg, samples_name)
    if values is None:  # the callback was left out
        return
    if not isinstance(values, ListConfig):
        raise ValueError(f"{name}={values} must be a list, such as {name}=[1,8]")
    unfit = [k for k in values if type(k) is not int or not 1 <= k <= samples]
    if unfit:
        raise ValueError(f"{name}={unfit} must lie between 1 and {samples_name}={samples}: sample more")


def _check_saving(cfg: DictConfig) -> None:
    if cfg.checkpoint.mode not in ("max", "min"):
        raise ValueError(f"checkpoint.mode={cfg.checkpoint.mode} must be max or min")
    best = cfg.checkpoint.best
    if best is not None and "/" not in str(best):
        raise ValueError(f"checkpoint.best={best} is no metric's name, such as val/gsm8k/mean@1; null keeps none")
    if str(best).startswith("val/") and cfg.run.validate_every is None:
        raise ValueError(
            f"checkpoint.best={best} is a metric of a validation, and run.validate_every=null makes none: set "
            "run.validate_every, or a metric of training such as reward/mean"
        )
    if not isinstance(cfg.resume, str):
        raise ValueError(f"resume={cfg.resume} must be auto, never, a run's folder or a checkpoint")


def _check_switches(cfg: DictConfig) -> None:
    for name in (
        *("overlong.filter_truncated", "policy.skip_zero_advantage", "policy.reference_on_cpu", "profile"),
        *("checkpoint.asynchronous", "checkpoint.requeue"),
    ):
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
    if temperature == 0:
        raise ValueError(
            f"sampling.temperature={temperature}: responses of a group must differ to be compared, so "
            "training samples at a temperature above 0 (validation.temperature may be 0)"
        )


def _check_old_log_probs(cfg: DictConfig) -> None:
    correction = cfg.correction._target_
    corrected = correction != "gmpo.objectives.correction.NoCorrection"
    of_engine = cfg.policy.old_log_probs == "rollout"
    if (of_engine or corrected) and (cfg.sampling.top_p != 1 or cfg.sampling.top_k != 0):
        reads, remedy = (
            ("policy.old_log_probs=rollout", "policy.old_log_probs=trainer")
            if of_engine
            else (f"the correction {correction}", "correction=none")
        )
        raise ValueError(
            f"{reads} with sampling.top_p={cfg.sampling.top_p}, sampling.top_k={cfg.sampling.top_k}: the engine "
            "reports log-probs of the truncated distribution and the trainer those of the whole one, so ratios "
            f"between them would be off from the start. Choose top_p=1 and top_k=0, or {remedy}"
        )
    if of_engine and corrected:
        raise ValueError(
            f"policy.old_log_probs=rollout with the correction {correction}: the ratios start from the engine's "
            "log-probs, which leaves no mismatch to correct. Choose correction=none or policy.old_log_probs=trainer"
        )


def _check_ahead(cfg: DictConfig) -> None:
    steps = OmegaConf.select(cfg, "rollout.async_steps", default=0)
    if type(steps) is not int or steps not in (0, 1):
        raise ValueError(f"rollout.async_steps={steps} must be 0, or 1: the rollout steps that generation is ahead")
    if not steps:
        return
    if cfg.rollout.subprocess is not True:
        raise ValueError(
            f"rollout.async_steps=1 with rollout.subprocess={cfg.rollout.subprocess}: an engine in the trainer's "
            "process cannot generate beside the update. Leave subprocess out, or set it to true"
        )
    if cfg.policy.old_log_probs == "trainer" and cfg.correction._target_ == "gmpo.objectives.correction.NoCorrection":
        raise ValueError(
            "rollout.async_steps=1 with policy.old_log_probs=trainer and correction=none: responses come from weights "
            "of one rollout step before, which nothing would account for. Choose policy.old_log_probs=rollout (ratios "
            "to the weights that sampled) or correction=truncated (ratios to the newest, weighed by how far they moved)"
        )
