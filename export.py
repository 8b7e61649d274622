"""Write a trained policy in the Hugging Face format: `python export.py --help` shows how."""

import hydra
from omegaconf import DictConfig, OmegaConf

from gmpo.cli.command import one_clear_error
from gmpo.config import check_added_keys, clear_config_errors


@hydra.main(version_base="1.3", config_path="configs", config_name="export")
def main(cfg: DictConfig) -> None:
    """Check, read, write, and say what was written."""
    with one_clear_error():
        check_added_keys(cfg)
        if missing := [key for key in ("checkpoint", "output") if OmegaConf.is_missing(cfg, key)]:
            raise ValueError(f"no value for {' and '.join(missing)}: python export.py checkpoint=PATH output=FOLDER")
        base_model, dtype = (None if cfg[key] is None else str(cfg[key]) for key in ("base_model", "dtype"))
        from gmpo.cli.console import configure_logging
        from gmpo.models.export import export  # heavy: torch, transformers, lightning

        configure_logging()
        print(export(str(cfg.checkpoint), str(cfg.output), base_model, dtype))


if __name__ == "__main__":
    with clear_config_errors():
        main()
