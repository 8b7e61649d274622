"""The check of a composed config against the table of settings.

A key without a row takes what the signature of its part's class says (gmpo.config.signatures). All numbers are finite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from gmpo.config.signatures import arguments
from gmpo.settings.commands import EVALUATE, EXPORT, PLAN, RESPONSES
from gmpo.settings.data import DATA, PARTS
from gmpo.settings.kinds import Keys, Kind, may_be_null
from gmpo.settings.learning import OBJECTIVE, OPTIMIZER, POLICY, REWARD
from gmpo.settings.machine import CLUSTER, CONFIG_JSON, MODEL, ROLLOUT
from gmpo.settings.rows import Row, Section
from gmpo.settings.run import BATCH, CALLBACKS, RUN, SAMPLING

TRAINING = (RUN, BATCH, DATA, SAMPLING, OBJECTIVE, REWARD, OPTIMIZER, POLICY, MODEL, ROLLOUT, CLUSTER, CALLBACKS)
REPEATED = (PARTS, CONFIG_JSON)  # the same keys in several places
OF_TRAINING = (*TRAINING, *REPEATED, PLAN)
OF_EVALUATION = (*TRAINING, *REPEATED, EVALUATE)
OF_EXPORT, OF_RESPONSES = (EXPORT,), (RESPONSES,)
OWN_CLASSES = ("objective.", "advantage.", "correction.", "reward.")  # a user's own class declares what its keys take
Leaf = tuple[str, DictConfig | ListConfig, Any]  # the key, the part that holds it, its name there


def check_values(cfg: DictConfig, sections: tuple[Section, ...] = OF_TRAINING) -> None:
    """Raise ValueError, naming key, value and what is expected, for the first value that is not of its key's kind."""
    leaves = [*_leaves(cfg, sections)]
    for refer in (False, True):  # report a key before the keys that refer to it
        for name, part, key in leaves:
            if OmegaConf.is_interpolation(part, key) is refer:
                _check(name, part, key, sections)


@cache
def find_row(name: str, sections: tuple[Section, ...]) -> Row | None:
    """Return the row of a key; its exact name goes before a pattern with *."""
    for section in sections:
        if name in section.rows:
            return section.rows[name]
    patterns = ((pattern, row) for section in sections for pattern, row in section.rows.items() if "*" in pattern)
    depth = name.count(".")
    return next((row for pattern, row in patterns if pattern.count(".") == depth and fnmatchcase(name, pattern)), None)


def find_kind(name: str, part: DictConfig | ListConfig, sections: tuple[Section, ...]) -> tuple[Kind, str] | None:
    """Return the kind of a key and the note of its row; None where the kind is unknown."""
    target = (
        part.get("_target_") if isinstance(part, DictConfig) and not OmegaConf.is_missing(part, "_target_") else None
    )
    of_a_user = isinstance(target, str) and not target.startswith("gmpo.") and name.startswith(OWN_CLASSES)
    if not of_a_user and (row := find_row(name, sections)) is not None:
        return row.kind, row.note
    if isinstance(target, str) and (kind := arguments(target).get(name.rpartition(".")[2])) is not None:
        return kind, ""
    return (Keys(), "") if is_part(name, sections) else None


@cache
def is_part(name: str, sections: tuple[Section, ...]) -> bool:
    """Return whether rows describe keys below this name."""
    depth = name.count(".") + 1
    patterns = (pattern.split(".") for section in sections for pattern in section.rows)
    if name.rpartition(".")[2].startswith("_"):  # Hydra's own, as _target_
        return False
    return any(len(parts) > depth and fnmatchcase(name, ".".join(parts[:depth])) for parts in patterns)


def _check(name: str, part: DictConfig | ListConfig, key: Any, sections: tuple[Section, ...]) -> None:
    if OmegaConf.is_interpolation(part, key) and find_row(name, sections) is None:
        return  # the key that it refers to is checked
    found = find_kind(name, part, sections)
    value = part[key]
    kind, note = found if found is not None else (None, "")
    if isinstance(value, float) and not math.isfinite(value):
        off = ", or null" if kind is not None and may_be_null(kind) else ""
        raise ValueError(f"{name}={value} must be a finite number{off}")
    if kind is not None and not kind.holds(value):
        raise ValueError(f"{name}={value} must be {kind}{note}")


def _leaves(node: DictConfig | ListConfig, sections: tuple[Section, ...], place: str = "") -> Iterator[Leaf]:
    """Yield each leaf, and each part that has a row; references to other keys are not followed."""
    keys = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for key in keys:
        name = f"{place}{key}"
        if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
            if not OmegaConf.is_missing(node, key):
                yield name, node, key
            continue
        inner = node._get_node(key)
        if isinstance(inner, DictConfig | ListConfig) and not inner._is_none():
            if find_kind(name, node, sections) is not None:
                yield name, node, key
            yield from _leaves(inner, sections, f"{name}.")
        else:
            yield name, node, key
