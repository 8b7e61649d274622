"""Values by themselves: divisors of sizes, texts, and what is left open."""

from collections.abc import Iterator, Sequence

from omegaconf import DictConfig, ListConfig, OmegaConf


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def check_texts(cfg: DictConfig, names: Sequence[str]) -> None:
    """Raise ValueError unless these are lists of texts that are not empty."""
    for name in names:
        value = OmegaConf.select(cfg, name)
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
    for key in map(str, cfg):
        if OmegaConf.is_missing(cfg, key):
            yield f"{prefix}{key}"
        elif not OmegaConf.is_interpolation(cfg, key) and OmegaConf.is_dict(cfg._get_node(key)):
            yield from _missing_keys(cfg[key], f"{prefix}{key}.")
