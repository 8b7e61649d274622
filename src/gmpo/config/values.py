"""Values by themselves: divisors of sizes, texts, and what is left open."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

LINE_BREAKS = re.compile(r"(?:\\[nrt])+")


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def check_texts(cfg: DictConfig, names: Sequence[str]) -> None:
    """Raise ValueError unless these are lists of texts that are not empty."""
    for name in names:
        value = OmegaConf.select(cfg, name)
        for text in value if isinstance(value, list | ListConfig) else ():
            if isinstance(text, str) and LINE_BREAKS.fullmatch(text):
                raise ValueError(
                    f"{name} holds the text {text!r}, a backslash and a letter, where a line break was likely meant: "
                    f"write $'{name}=[\"\\n\"]' in the shell"
                )
        if not isinstance(value, list | ListConfig) or not all(isinstance(text, str) and text for text in value):
            raise ValueError(
                f'{name}={value} must be a list of texts, such as ["</answer>"], none of them empty; [] is off'
            )


def check_complete(cfg: DictConfig) -> None:
    """Raise ValueError where a value is left open."""
    missing = sorted(_missing_keys(cfg))
    if missing:
        raise ValueError(f"no value for {', '.join(missing)}: set each by key=value, or choose an experiment that does")


def _missing_keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys left at ???, without resolving what refers to them."""
    keys: list[Any] = list(cfg)  # whole numbers too, in a part of a user's
    for key in keys:
        if OmegaConf.is_missing(cfg, key):
            yield f"{prefix}{key}"
        elif not OmegaConf.is_interpolation(cfg, key) and OmegaConf.is_dict(cfg._get_node(key)):
            yield from _missing_keys(cfg[key], f"{prefix}{key}.")
