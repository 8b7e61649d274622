"""Hydra's errors about the names in overrides, each replaced by one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gmpo.config.folder import configs_folder
from gmpo.config.keys import no_key
from gmpo.config.tree import Tree, has, tree
from gmpo.run.secrets import redact

CLOSE = 0.6  # similarity of a choice that was likely meant; 1: equal


@contextmanager
def clear_config_errors() -> Iterator[None]:
    """Exit with one sentence where an override names a key, a group or a choice that does not exist.

    Hydra's own message for a misspelt key proposes to add it by +, but nothing would read it.
    """
    load = ConfigLoaderImpl.load_configuration

    @wraps(load)
    def explained(
        self: ConfigLoaderImpl, config_name: str | None, overrides: list[str], *args: Any, **kwargs: Any
    ) -> DictConfig:
        try:
            return load(self, config_name, overrides, *args, **kwargs)
        except (ConfigCompositionException, ValueError) as error:  # ValueError: a group set to null
            if (sentence := _explain(self, load, config_name, overrides)) is None:
                raise
            raise SystemExit(redact(f"error: {sentence}")) from error

    ConfigLoaderImpl.load_configuration = explained  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]


def _explain(
    loader: ConfigLoaderImpl, load: Callable[..., DictConfig], config_name: str | None, lines: Sequence[str]
) -> str | None:
    """Return what is wrong with overrides that do not compose, if it is a name."""
    groups = [group for group in loader.list_groups("") if group != "hydra"]
    overrides = [each for each in OverridesParser.create().parse_overrides(list(lines)) if not each.is_hydra_override()]
    chosen = [each for each in overrides if each.package is not None or each.key_or_group in groups]
    for override in chosen:
        if sentence := _wrong_choice(override, loader.get_group_options(override.key_or_group)):
            return sentence
    try:
        composed = load(loader, config_name, [each.input_line or "" for each in chosen], RunMode.RUN, from_shell=False)
    except (HydraException, OmegaConfBaseException):
        return None
    cfg = dict.fromkeys(groups) | {key: value for key, value in tree(composed).items() if key != "hydra"}
    return next((found for each in overrides if each not in chosen and (found := _wrong_key(each, cfg))), None)


def _wrong_choice(override: Override, choices: Sequence[str]) -> str | None:
    group, value = override.key_or_group, None if override.is_delete() else override.value()
    for name in value if isinstance(value, list) else [value]:
        if override.is_delete() or override.is_sweep_override():
            continue
        if not isinstance(name, str):
            return f"no choice {'null' if name is None else name} of {group}: choose one of {', '.join(choices)}"
        if name not in choices:
            close = get_close_matches(name, choices, 1, CLOSE)
            meant = f"did you mean {group}={close[0]}? " if close else ""
            return f"no choice {name} of {group}: {meant}Choose one of {', '.join(choices)}"
    return None


def _wrong_key(override: Override, cfg: Tree) -> str | None:
    key = override.key_or_group
    if override.is_force_add():
        return None
    if override.is_add():
        plain = (override.input_line or "").removeprefix("+")
        return f"the key {key} is there already: set it by {plain}" if has(cfg, key) else None
    if not has(cfg, key):
        return _not_there(key, cfg)
    value = None if override.is_delete() or override.is_sweep_override() else override.value()
    return next((_not_there(inner, cfg) for inner in _inner(value, key) if not has(cfg, inner)), None)


def _not_there(key: str, cfg: Tree) -> str:
    group, _, rest = key.partition(".")
    if rest and group in cfg and cfg[group] is None:
        return f"no {group} is chosen, and {key} is a key of one: choose by {group}=NAME, or by experiment=NAME"
    return no_key(key, cfg)


def _inner(value: Any, key: str) -> Iterator[str]:
    """Yield the keys within a value that is a mapping."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield f"{key}.{name}"
            yield from _inner(inner, f"{key}.{name}")


def accept_model_path(arguments: Sequence[str]) -> list[str]:
    """Expand model=PATH to model=local model.path=PATH; with -m also model=PATH,PATH.

    A path is a text with a slash, or an existing folder that is no choice of the group model. Anything else is left to
    Hydra.
    """
    several = not {"-m", "--multirun"}.isdisjoint(arguments)
    accepted = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        paths = value.split(",") if several else [value]
        if name == "model" and all(map(_is_path, paths)):
            quoted = ",".join(f'"{path}"' for path in paths)
            accepted += ["model=local", f"model.path={quoted}"]
        else:
            accepted.append(argument)
    return accepted


def _is_path(text: str) -> bool:
    is_choice = (configs_folder() / "model" / f"{text}.yaml").is_file()
    return "/" in text or (text != "" and not is_choice and Path(text).is_dir())
