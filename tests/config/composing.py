"""Composed configs for tests: each choice of groups is composed once, values are set on a copy."""

from copy import deepcopy
from functools import cache
from importlib.util import find_spec

from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

CONFIGS = ROOT / "configs"
GROUPS = {path.parent.name for path in CONFIGS.glob("*/*.yaml")}
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
CHOICES = sorted(
    f"{path.parent.name}/{path.stem}"
    for path in CONFIGS.glob("*/*.yaml")
    if path.parent.name not in ("experiment", "wiring")
)


def composed(*overrides: str, config: str = "train") -> DictConfig:
    """What Hydra makes of these words; of the quickstart, where they name no experiment."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    of_groups = [each for each in parsed if each.package is not None or each.key_or_group in GROUPS - {"run"}]
    cfg = deepcopy(_composed(config, tuple(each.input_line or "" for each in of_groups)))
    ConfigLoaderImpl._apply_overrides_to_config([each for each in parsed if each not in of_groups], cfg)
    return cfg


@cache
def _composed(config: str, groups: tuple[str, ...]) -> DictConfig:
    usual = [] if find_spec("vllm") or config not in ("train", "evaluate", "plan") else ["rollout=transformers"]
    if config in ("train", "plan"):
        usual += ["run.name=test"]
        usual += [] if any("experiment" in group for group in groups) else ["experiment=quickstart"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(config, [*usual, *groups])
