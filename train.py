"""Train a language model: `python train.py --help` shows how."""

import os
import sys

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from gmpo.config import check

# read when torch is imported: no chatter, and threads that wait without spinning where cores are few
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> None:
    """Check, instantiate, fit."""
    try:
        check(cfg)
        from gmpo.training import prepare  # heavy: torch, transformers, lightning

        training = prepare(cfg)
    except (ValueError, InstantiationException) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        wrapped = error.__cause__ if isinstance(error, InstantiationException) else None
        sys.exit(f"error: {wrapped or error}")
    if reason := training.run():
        sys.exit(f"error: {reason}")


if __name__ == "__main__":
    main()
