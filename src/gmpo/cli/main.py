"""The commands of the project: `gmpo train | evaluate | plan | export | responses`, and the scripts of these names."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from omegaconf import DictConfig

from gmpo.cli.command import need_launcher, one_clear_error, set_up, tolerate_closed_output
from gmpo.config import (
    accept_model_path,
    check,
    check_added_keys,
    check_chosen,
    check_evaluation,
    check_export,
    check_recipe,
    check_responses,
    clear_config_errors,
    configs_folder,
    layout_of,
    model_config,
)
from gmpo.models.shape import ModelShape
from gmpo.planning.fitting import check_fits
from gmpo.planning.plan import make_plan
from gmpo.planning.report import print_plan
from gmpo.planning.sizes import find_sizes
from gmpo.run.errors import RunError
from gmpo.run.launch import follow, launch
from gmpo.run.secrets import redact
from gmpo.run.signals import stop_before_training


def train(cfg: DictConfig) -> None:
    """Train a language model: check, instantiate, fit."""
    started = launch()
    tolerate_closed_output()
    stop_before_training()
    with one_clear_error(started):
        check_chosen(cfg)
        follow(started, cfg)
        check_added_keys(cfg)
        check(cfg)
        check_fits(cfg)
        from gmpo.training import prepare  # heavy: torch, transformers, lightning

        training = prepare(cfg, started)
    reason = training.run()
    if reason and started.rank == 0:
        sys.exit(redact(f"error: {reason}"))


def evaluate(cfg: DictConfig) -> None:
    """Evaluate a language model on benchmarks."""
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


def plan(cfg: DictConfig) -> None:
    """Print the memory, time and ranks that a recipe needs on a cluster."""
    with one_clear_error():
        check_chosen(cfg)
        check_added_keys(cfg)
        check_recipe(cfg)
        origin = find_sizes(cfg)
        check_recipe(cfg)  # again, with the sizes that the hub has
        config = model_config(cfg)
        assert config is not None, "find_sizes raises without one"
        ModelShape.of(config)
        from gmpo.planning.sharded import sharded  # heavy: torch, transformers

        planned = make_plan(cfg, sharded(config, layout_of(cfg)), origin)
    if cfg.format == "json":
        print(json.dumps(planned.to_json(), indent=2))
    else:
        print_plan(planned, cfg)


def export(cfg: DictConfig) -> None:
    """Write a trained policy in the Hugging Face format, and print what was written."""
    with one_clear_error():
        check_added_keys(cfg)
        check_export(cfg)
        base_model, dtype = (None if cfg[key] is None else str(cfg[key]) for key in ("base_model", "dtype"))
        from gmpo.cli.console import configure_logging
        from gmpo.models.export import export as write  # heavy: torch, transformers, lightning

        configure_logging()
        print(write(str(cfg.checkpoint), str(cfg.output), base_model, dtype))


def responses(cfg: DictConfig) -> None:
    """Print responses of a run or an evaluation."""
    with one_clear_error():
        check_added_keys(cfg)
        check_responses(cfg)
        from gmpo.cli.responses import print_responses

        print_responses(str(cfg.run), cfg.file, cfg.count, cfg.step)


COMMANDS: dict[str, Callable[[DictConfig], None]] = {
    command.__name__: command for command in (train, evaluate, plan, export, responses)
}


def run(name: str, configs: Path) -> None:
    """Run a command on its command-line arguments, with the configs of a folder."""
    set_up()
    need_launcher(sys.argv[1:])
    sys.argv[1:] = accept_model_path(sys.argv[1:])
    with clear_config_errors():
        hydra.main(version_base="1.3", config_path=str(configs), config_name=name)(COMMANDS[name])()


def main() -> None:
    """Run `gmpo COMMAND ...` like the script of that name."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        wrong = f"error: no command {name}\n" if name and name not in ("-h", "--help") else ""
        listed = "\n".join(f"  gmpo {each:<10} {command.__doc__}" for each, command in COMMANDS.items())
        sys.exit(f"{wrong}{listed}\ngmpo COMMAND --help shows how")
    configs = configs_folder()
    # Lightning starts the other ranks of a machine from this file and its arguments
    sys.argv = [str(configs.parent / f"{name}.py"), *sys.argv[2:]]
    run(name, configs)


if __name__ == "__main__":
    main()
