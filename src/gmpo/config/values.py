"""Checks for missing values and for texts that were likely meant otherwise; divisors of sizes."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

LINE_BREAKS = re.compile(r"(?:\\[nrt])+")
LIKE_SWITCHES = ("true", "false", "yes", "no", "on", "off", "null", "none")


def divisors(number: int) -> list[int]:
    """Return all divisors, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def check_line_breaks(cfg: DictConfig, names: Sequence[str]) -> None:
    """Raise ValueError where an entry of these lists is a backslash and a letter."""
    for name in names:
        value = OmegaConf.select(cfg, name)
        for text in value if isinstance(value, ListConfig) else ():
            if isinstance(text, str) and LINE_BREAKS.fullmatch(text):
                raise ValueError(
                    f"{name} holds the text {text!r}, a backslash and a letter, where a line break was likely meant: "
                    f"write $'{name}=[\"\\n\"]' in the shell"
                )


def check_template_arguments(cfg: DictConfig) -> None:
    """Raise ValueError for a text that reads like a switch: a template takes any text for true, even "no"."""
    for name, value in (cfg.data.chat_template_arguments or {}).items():
        if isinstance(value, str) and value.lower() in LIKE_SWITCHES:
            raise ValueError(
                f"data.chat_template_arguments.{name}={value} is a text, which a template takes for true: write true, "
                "false or null"
            )


def check_complete(cfg: DictConfig) -> None:
    """Raise ValueError where a key has no value."""
    if missing := missing_keys(cfg):
        raise ValueError(f"no value for {', '.join(missing)}: set each by key=value, or choose an experiment that does")


def missing_keys(cfg: DictConfig) -> list[str]:
    """Return the keys left at ???, without resolving references to them."""
    return sorted(_missing(cfg))


def _missing(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    keys: list[Any] = list(cfg)  # a user's own part may have integer keys
    for key in keys:
        if OmegaConf.is_missing(cfg, key):
            yield f"{prefix}{key}"
        elif not OmegaConf.is_interpolation(cfg, key) and OmegaConf.is_dict(cfg._get_node(key)):
            yield from _missing(cfg[key], f"{prefix}{key}.")
