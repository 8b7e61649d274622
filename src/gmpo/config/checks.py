"""Checks of a composed config before anything heavy is imported or started."""

from omegaconf import DictConfig, OmegaConf

from gmpo.config.cluster import check_launch, check_ranks
from gmpo.config.model import check_model_folder, check_packages, check_positions, check_weights_of
from gmpo.config.old_log_probs import is_corrected, old_log_probs
from gmpo.config.renamed import check_renamed
from gmpo.config.schema import OF_EVALUATION, OF_EXPORT, OF_RESPONSES, check_values
from gmpo.config.signatures import declares
from gmpo.config.trainer import check_trainer
from gmpo.config.tree import tree
from gmpo.config.values import check_complete, check_line_breaks, check_template_arguments, divisors, missing_keys
from gmpo.config.wiring import check_wiring


def check(cfg: DictConfig) -> None:
    """Raise ValueError, naming value and remedy, for values that conflict or that this machine cannot run."""
    check_recipe(cfg)
    check_launch(cfg)
    check_packages(cfg)
    check_model_folder(cfg)
    check_weights_of(cfg, trained=True)


def check_recipe(cfg: DictConfig) -> None:
    """Raise ValueError for values that conflict on any machine."""
    check_renamed(tree(cfg))
    check_wiring(cfg)
    check_complete(cfg)
    check_values(cfg)
    check_line_breaks(cfg, ["sampling.stop", "validation.stop"])
    check_template_arguments(cfg)
    _check_pass_k(cfg, "callbacks.evaluation.pass_k", "validation.samples")
    _check_batch(cfg)
    check_ranks(cfg)
    _check_lengths(cfg)
    _check_temperature(cfg)
    _check_old_log_probs(cfg)
    _check_ahead(cfg)
    check_positions(cfg)
    _check_best(cfg)
    check_trainer(cfg)


def check_evaluation(cfg: DictConfig) -> None:
    """Raise ValueError, naming value and remedy, for a config that an evaluation cannot run."""
    check_renamed(tree(cfg))
    check_complete(cfg)
    check_values(cfg, OF_EVALUATION)
    check_line_breaks(cfg, ["sampling.stop"])
    check_template_arguments(cfg)
    if not cfg.benchmark:
        raise ValueError(
            "benchmark=none leaves nothing to evaluate on: choose some, such as benchmark=[aime24,math500]"
        )
    _check_pass_k(cfg, "pass_k", "sampling.samples")
    check_packages(cfg)
    check_model_folder(cfg)
    check_weights_of(cfg, trained=False)
    check_positions(cfg)


def check_export(cfg: DictConfig) -> None:
    """Raise ValueError, naming value and remedy, for a config that an export cannot run."""
    if missing := missing_keys(cfg):
        raise ValueError(f"no value for {' and '.join(missing)}: python export.py checkpoint=PATH output=FOLDER")
    check_values(cfg, OF_EXPORT)


def check_responses(cfg: DictConfig) -> None:
    """Raise ValueError, naming value and remedy, for a config that `gmpo responses` cannot run."""
    if missing_keys(cfg):
        raise ValueError("no value for run: gmpo responses run=runs/quickstart")
    check_values(cfg, OF_RESPONSES)


def _check_pass_k(cfg: DictConfig, name: str, samples_name: str) -> None:
    """Raise ValueError where pass@k needs more responses than are sampled."""
    values, samples = OmegaConf.select(cfg, name), OmegaConf.select(cfg, samples_name)
    if values is None:  # the callback was left out
        return
    if unfit := [k for k in values if k > samples]:
        raise ValueError(f"{name}={unfit} must lie between 1 and {samples_name}={samples}: sample more")


def _check_best(cfg: DictConfig) -> None:
    best = cfg.checkpoint.best
    if best is not None and "/" not in str(best):
        raise ValueError(f"checkpoint.best={best} is no metric's name, such as val/gsm8k/mean@1; null keeps none")
    if str(best).startswith("val/") and cfg.run.validate_every is None:
        raise ValueError(
            f"checkpoint.best={best} is a metric of a validation, and run.validate_every=null makes none: set "
            "run.validate_every, or a metric of training such as reward/mean"
        )


def _check_batch(cfg: DictConfig) -> None:
    batch = cfg.batch
    steps, rest = divmod(batch.prompts, batch.mini_batch_prompts)
    if rest:
        raise ValueError(
            f"batch.mini_batch_prompts={batch.mini_batch_prompts} does not divide batch.prompts={batch.prompts}: "
            f"{batch.prompts} = {steps} x {batch.mini_batch_prompts} + {rest}. "
            f"Choose one of {', '.join(map(str, divisors(batch.prompts)))}"
        )
    if batch.group_size < 2 and declares(cfg.advantage._target_, "is_group_relative"):
        raise ValueError(
            f"batch.group_size={batch.group_size} with the group-relative advantage {cfg.advantage._target_}: "
            "a single response has nothing to compare with, so every advantage would be 0. "
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
    corrected, of_engine = is_corrected(cfg), old_log_probs(cfg) == "rollout"
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
    if not OmegaConf.select(cfg, "rollout.async_steps", default=0):
        return
    if cfg.rollout.subprocess is not True:
        raise ValueError(
            f"rollout.async_steps=1 with rollout.subprocess={cfg.rollout.subprocess}: an engine in the trainer's "
            "process cannot generate beside the update. Leave subprocess out, or set it to true"
        )
    if old_log_probs(cfg) == "trainer" and not is_corrected(cfg):
        raise ValueError(
            "rollout.async_steps=1 with policy.old_log_probs=trainer and correction=none: responses come from weights "
            "of one rollout step before, which nothing would account for. Choose policy.old_log_probs=rollout (ratios "
            "to the weights that sampled) or correction=truncated (ratios to the newest, weighed by how far they moved)"
        )
