"""The check of the options of Lightning's Trainer."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

FREE = (  # these change neither the steps nor what they compute
    *("max_time", "profiler", "detect_anomaly", "deterministic", "benchmark", "inference_mode"),
    *("enable_progress_bar", "enable_model_summary", "default_root_dir", "enable_autolog_hparams"),
)
STEPS = "set run.steps"
CLUSTER = "set it by the keys of cluster"
REMEDIES = {
    **dict.fromkeys(("max_epochs", "min_epochs", "max_steps", "min_steps", "limit_train_batches"), STEPS),
    **dict.fromkeys(("fast_dev_run", "overfit_batches"), "set run.steps, batch.prompts and data.validation_limit"),
    **dict.fromkeys(("accelerator", "devices", "num_nodes", "strategy", "plugins", "sync_batchnorm"), CLUSTER),
    **dict.fromkeys(("val_check_interval", "check_val_every_n_epoch"), "set run.validate_every"),
    **dict.fromkeys(("gradient_clip_val", "gradient_clip_algorithm"), "set policy.gradient_clip"),
    "limit_val_batches": "set data.validation_limit, or run.validate_every=null for no validation",
    "num_sanity_val_steps": "run.validate_every validates before the first step",
    "accumulate_grad_batches": "set batch.max_tokens_per_micro_batch, which splits a mini-batch, or batch.prompts",
    "precision": "set cluster.dtype",
    "enable_checkpointing": "set the keys of checkpoint",
    "log_every_n_steps": "metrics.csv has a row for each rollout step",
    "logger": "choose by logger=NAME, or add one by +logger.NAME._target_=CLASS",
    "callbacks": "add one by +callbacks.NAME._target_=CLASS",
}


def check_trainer(cfg: DictConfig) -> None:
    """Raise ValueError for an option of Lightning's Trainer that would break what a run guarantees.

    The guarantee: run.steps rollout steps, each run once with a row of its own, and the same numbers after a resume.
    """
    expected = _expected(cfg)
    options = OmegaConf.to_container(cfg.trainer, resolve=True)
    assert isinstance(options, dict)
    for name, value in ((str(name), value) for name, value in options.items()):
        if name in FREE or (name in expected and value == expected[name]):
            continue
        remedy = REMEDIES.get(name, "its effect on a resumed run is unknown")
        raise ValueError(f"trainer.{name}={value} cannot be changed: leave it as it is; {remedy}")


def _expected(cfg: DictConfig) -> Mapping[str, Any]:
    cluster, validate_every = cfg.cluster, cfg.run.validate_every
    return {
        "_target_": "lightning.Trainer",
        "_convert_": "all",
        "accelerator": cluster.accelerator,
        "devices": cluster.devices,
        "num_nodes": cluster.nodes,
        "strategy": {
            "_target_": "gmpo.parallel.strategy.MeshStrategy",
            **{name: cluster[name] for name in ("dp_replicate", "dp_shard", "cp", "timeout")},
        },
        "use_distributed_sampler": False,
        "max_epochs": 1,
        "val_check_interval": validate_every,
        "limit_val_batches": 0 if validate_every is None else 1.0,
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_checkpointing": False,
    }
