"""A config as plain dicts, with references to other keys as text."""

from collections.abc import Mapping
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

Tree = Mapping[str, Any]


def tree(cfg: DictConfig) -> Tree:
    """Return a config as plain dicts, with references to other keys as text."""
    plain = OmegaConf.to_container(cfg, resolve=False)
    return cast(Tree, plain)


def has(cfg: Tree, key: str) -> bool:
    """Return whether the key exists, whatever its value."""
    place, _, last = key.rpartition(".")
    node = at(cfg, place)
    return isinstance(node, Mapping) and last in node


def at(cfg: Tree, key: str) -> Any:
    """Return the value of a key, or None where there is none; the whole config for an empty key."""
    node: Any = cfg
    for part in key.split(".") if key else ():
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
