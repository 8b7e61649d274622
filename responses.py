"""Print responses of a run or an evaluation: `python responses.py --help` shows how."""

import hydra
from omegaconf import DictConfig, OmegaConf

from gmpo.cli.command import one_clear_error
from gmpo.config import check_added_keys, clear_config_errors


@hydra.main(version_base="1.3", config_path="configs", config_name="responses")
def main(cfg: DictConfig) -> None:
    """Read, choose, print."""
    with one_clear_error():
        check_added_keys(cfg)
        if OmegaConf.is_missing(cfg, "run"):
            raise ValueError("no value for run: python responses.py run=runs/quickstart")
        from gmpo.cli.responses import print_responses

        print_responses(str(cfg.run), cfg.file, cfg.count, cfg.step)


if __name__ == "__main__":
    with clear_config_errors():
        main()
