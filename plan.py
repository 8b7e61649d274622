"""What a recipe asks of a cluster, told on a laptop: `python plan.py --help` shows how."""

import json
import sys

import hydra
from omegaconf import DictConfig

from gmpo.cli.command import accept_model_path, one_clear_error
from gmpo.config import check_added_keys, check_recipe, clear_config_errors, layout_of, model_config
from gmpo.models.shape import ModelShape
from gmpo.planning.plan import make_plan
from gmpo.planning.report import print_plan
from gmpo.planning.sizes import find_sizes


@hydra.main(version_base="1.3", config_path="configs", config_name="plan")
def main(cfg: DictConfig) -> None:
    """Check, count, print."""
    with one_clear_error():
        check_added_keys(cfg)
        if cfg.format not in ("text", "json"):
            raise ValueError(f"format={cfg.format} must be text or json")
        origin = find_sizes(cfg)
        check_recipe(cfg)
        config = model_config(cfg)
        assert config is not None, "find_sizes refuses a model without"
        ModelShape.of(config)
        from gmpo.planning.sharded import sharded  # heavy: torch, transformers

        plan = make_plan(cfg, sharded(config, layout_of(cfg)), origin)
    if cfg.format == "json":
        print(json.dumps(plan.to_json(), indent=2))
    else:
        print_plan(plan, cfg)


if __name__ == "__main__":
    sys.argv[1:] = accept_model_path(sys.argv[1:])
    with clear_config_errors():
        main()
