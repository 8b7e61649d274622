"""Evaluate a language model: `python evaluate.py --help` shows how."""

import os
import sys

import hydra
from omegaconf import DictConfig

from gmpo.cli.command import accept_model_path, one_clear_error
from gmpo.config import check_added_keys, check_evaluation, clear_config_errors
from gmpo.run.errors import RunError
from gmpo.run.secrets import redact


@hydra.main(version_base="1.3", config_path="configs", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Check, instantiate, evaluate, print."""
    with one_clear_error():
        check_added_keys(cfg)
        check_evaluation(cfg)
        from gmpo.evaluation.command import prepare, print_results  # heavy: torch, transformers

        evaluation = prepare(cfg)
    try:
        results = evaluation.run()
    except RunError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.exit(redact(f"error: {error}"))
    print_results(results, evaluation.folder)


if __name__ == "__main__":
    sys.argv[1:] = accept_model_path(sys.argv[1:])
    with clear_config_errors():
        main()
