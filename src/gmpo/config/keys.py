"""Refusal of keys that nothing reads, with the names that were likely meant."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from omegaconf import DictConfig

from gmpo.config.renamed import renamed
from gmpo.config.tree import Tree, at, has, tree

OPEN = ("model.overrides", "model.shape", "data.chat_template_arguments", "data.leave_out")  # any key
NAMED = ("callbacks", "logger", "benchmark", "guards")  # entries named by the user, each with a _target_
HYDRAS_OWN = ("_partial_", "_convert_", "_recursive_", "_args_")
CLOSE, CLOSER = 0.7, 0.8  # similarity of names in the same part of the config, and of any names; 1: equal
MOST = 12  # names in a message
REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def check_added_keys(cfg: DictConfig) -> None:
    """Raise ValueError for keys that the command line adds by + and nothing reads; within a Hydra application."""
    chosen = HydraConfig.get()
    overrides = OverridesParser.create().parse_overrides(list(chosen.overrides.task))
    if not any(override.is_add() or override.is_force_add() for override in overrides):
        return
    of_groups = [each for each in overrides if each.package is not None or each.key_or_group in chosen.runtime.choices]
    known = compose(chosen.job.config_name, [each.input_line or "" for each in of_groups])
    if unread := unread_keys(tree(cfg), tree(known)):
        raise ValueError("; ".join(unread))


def unread_keys(cfg: Tree, known: Tree) -> list[str]:
    """Return a sentence for each key of `cfg` that `known` lacks and nothing reads.

    A key is read if another key refers to it, if it is an argument of the class that its part of the config names, or
    if its place is open: settings of another program, and entries named by the user.
    """
    referred = set(_referred(cfg))
    return [
        sentence
        for key in _added(cfg, known)
        if not any(name == key or name.startswith(f"{key}.") for name in referred)
        and (sentence := _unread(cfg, known, key)) is not None
    ]


def no_key(key: str, cfg: Tree, arguments: Sequence[str] = ()) -> str:
    """Return a sentence that there is no such key, with its new name or the one that was likely meant.

    arguments: the names that the class of its part takes, if it has one.
    """
    if now := renamed(key):
        return now
    if meant := _meant(key, cfg, arguments):
        return f"no key {key}: did you mean {meant}?"
    place, _, _ = key.rpartition(".")
    if beside := _beside(key, cfg, arguments):
        more = ", ..." if len(beside) > MOST else ""
        return f"no key {key}: {place or 'the config'} has {', '.join(beside[:MOST])}{more}"
    return f"no key {key}: --cfg job prints all keys, docs/settings.md describes them"


def _added(cfg: Tree, known: Tree, place: str = "") -> Iterator[str]:
    """Yield the keys that `known` lacks; for a missing part, only the part's own key."""
    for name, value in cfg.items():
        if name not in known:
            yield f"{place}{name}"
        elif isinstance(value, Mapping) and isinstance(known[name], Mapping):
            yield from _added(value, known[name], f"{place}{name}.")


def _unread(cfg: Tree, known: Tree, key: str) -> str | None:
    parts = key.split(".")
    if key.startswith(tuple(f"{place}." for place in OPEN)):
        return None
    if len(parts) == 2 and parts[0] in NAMED:
        entry = at(cfg, key)
        if isinstance(entry, Mapping) and "_target_" in entry:
            return None
        return f"{no_key(key, known)} A new one names its class: +{key}._target_=CLASS"
    for depth in range(len(parts) - 1, 0, -1):
        node = at(cfg, ".".join(parts[:depth]))
        if isinstance(node, Mapping) and "_target_" in node:
            taken = _arguments(node["_target_"])
            if taken is None or parts[depth] in (*taken, *HYDRAS_OWN):
                return None
            return no_key(".".join(parts[: depth + 1]), known, taken)
    return no_key(key, known)


def _arguments(target: str) -> list[str] | None:
    """Return the names of the arguments that a class or function takes; None where it takes any, or is not found."""
    try:
        parameters = inspect.signature(get_object(target)).parameters.values()
    except (ImportError, TypeError, ValueError):  # instantiate reports what is wrong
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]


def _referred(value: Any) -> Iterator[str]:
    """Yield the names of the keys that a value refers to."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _referred(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _referred(inner)
    elif isinstance(value, str) and "${" in value:
        yield from (name.strip(".") for name in re.findall(r"[\w.]+", value))


def _meant(key: str, cfg: Tree, arguments: Sequence[str]) -> str | None:
    """Return the key most similar to a missing one."""
    place, _, last = key.rpartition(".")
    if (behind := _behind_reference(key, cfg)) is not None:
        return behind
    if close := get_close_matches(last, _beside(key, cfg, arguments), 1, CLOSE):
        return f"{place}.{close[0]}" if place else close[0]
    names = sorted(_names(cfg), key=lambda name: name.count("."))  # keys that a person sets are near the top
    lasts = [name.rpartition(".")[2] for name in names]
    if last in lasts:
        return names[lasts.index(last)]
    if close := get_close_matches(key, [name for name in names if not key.startswith(f"{name}.")], 1, CLOSER):
        return close[0]
    if close := get_close_matches(last, lasts, 1, CLOSER):
        return names[lasts.index(close[0])]
    return None


def _behind_reference(key: str, cfg: Tree) -> str | None:
    """Return the real key where one is named through a part that is a reference to another part."""
    parts = key.split(".")
    for depth in range(1, len(parts)):
        node = at(cfg, ".".join(parts[:depth]))
        if isinstance(node, str) and (reference := REFERENCE.fullmatch(node)):
            found = ".".join((reference[1], *parts[depth:]))
            return found if has(cfg, found) else None
    return None


def _beside(key: str, cfg: Tree, arguments: Sequence[str]) -> list[str]:
    place, _, last = key.rpartition(".")
    node = at(cfg, place)
    names = arguments or (node if isinstance(node, Mapping) else ())
    return [name for name in dict.fromkeys(names) if name != last and name[0] != "_"]


def _names(cfg: Tree, place: str = "") -> Iterator[str]:
    for name, value in cfg.items():
        yield f"{place}{name}"
        if isinstance(value, Mapping):
            yield from _names(value, f"{place}{name}.")
