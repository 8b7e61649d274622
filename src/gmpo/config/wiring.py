"""The check of wired keys: keys that connect the parts of a run, each a reference to a key that a person sets."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gmpo.config.folder import BESIDE_THE_CODE

WIRING, CALLBACKS = "wiring/train.yaml", "callbacks/default.yaml"
NOT_PARTS = ("hydra", "experiment", "wiring", "defaults")
OTHERS_CHECK = ("trainer",)  # gmpo.config.trainer has a remedy for each of its keys
REFERENCE = re.compile(r"\$\{([a-z_]\w*(?:\.\w+)*)\}")


def check_wiring(cfg: DictConfig) -> None:
    """Raise ValueError where a part that a run needs was left out, or a wired key differs from the one it repeats.

    A differing wired key would bypass the checks of the key that it repeats, and other parts would not see it.
    """
    for name in _needed():
        if name not in cfg:
            raise ValueError(
                f"{name} was left out (~{name}), and other parts refer to it: choose one, or change its keys"
            )
    for name, reference in _wired().items():
        place, _, key = name.rpartition(".")
        node = OmegaConf.select(cfg, place)
        if not isinstance(node, DictConfig) or key not in list(node) or OmegaConf.is_interpolation(node, key):
            continue
        followed = OmegaConf.select(cfg, reference)
        if node[key] != followed:
            raise ValueError(
                f"{name}={node[key]} repeats {reference}={followed}, which other parts read: set that alone"
            )


@cache
def _needed() -> tuple[str, ...]:
    """Return the top-level names of a training config."""
    written = _read("train.yaml")
    groups = [name for entry in written.pop("defaults") if isinstance(entry, dict) for name in entry]
    names = dict.fromkeys((*written, *_read(WIRING), *groups))
    return tuple(name for name in names if name not in NOT_PARTS and not name.startswith("override"))


@cache
def _wired() -> dict[str, str]:
    """Return each wired key and the key that it repeats."""
    written = _read(WIRING) | {"callbacks": _read(CALLBACKS)}
    parts = [part for part in written if part not in (*NOT_PARTS, *OTHERS_CHECK)]
    return {name: reference for part in parts for name, reference in _references(written[part], part)}


def _read(file: str) -> dict[str, Any]:
    read = OmegaConf.to_container(OmegaConf.load(BESIDE_THE_CODE / file), resolve=False)
    assert isinstance(read, dict)
    return {str(name): value for name, value in read.items()}


def _references(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _references(inner, f"{name}.{key}")
    elif isinstance(value, str) and (found := REFERENCE.fullmatch(value)):
        yield name, found[1]
