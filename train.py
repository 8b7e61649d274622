"""Train a language model: `python train.py --help` shows how."""

import sys

import hydra
from omegaconf import DictConfig

from gmpo.cli.command import accept_model_path, need_launcher, one_clear_error, tolerate_closed_output
from gmpo.config import check, check_added_keys, clear_config_errors
from gmpo.planning.fitting import check_fits
from gmpo.run.launch import follow, launch
from gmpo.run.secrets import redact
from gmpo.run.signals import stop_before_training


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> None:
    """Check, instantiate, fit."""
    started = launch()
    tolerate_closed_output()
    stop_before_training()
    with one_clear_error(started):
        follow(started, cfg)
        check_added_keys(cfg)
        check(cfg)
        check_fits(cfg)
        from gmpo.training import prepare  # heavy: torch, transformers, lightning

        training = prepare(cfg, started)
    reason = training.run()
    if reason and started.rank == 0:
        sys.exit(redact(f"error: {reason}"))


if __name__ == "__main__":
    need_launcher(sys.argv[1:])
    sys.argv[1:] = accept_model_path(sys.argv[1:])
    with clear_config_errors():
        main()
