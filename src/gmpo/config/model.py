"""Checks of the model, as far as its config.json allows, and of the packages that run it."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gmpo.models.files import check_model_files, check_trainable, check_weights, local_config

log = logging.getLogger(__name__)


def model_config(cfg: DictConfig) -> dict[str, Any] | None:
    """Return config.json with model.overrides: from the folder, the hub's cache or model.shape.

    None where none of them exists; the hub is not queried.
    """
    path, shape = cfg.model.path, cfg.model.shape
    found = None if path is None else local_config(str(path))
    if found is None and shape is not None and shape.get("of", path) == path:
        found = {key: value for key, value in _plain(shape).items() if key != "of"}
    return None if found is None else {**found, **_plain(cfg.model.overrides)}


def vocabulary_size(cfg: DictConfig) -> int | None:
    """Return the size of the vocabulary; None where this machine has no config.json that gives it."""
    size = (model_config(cfg) or {}).get("vocab_size")
    return size if isinstance(size, int) else None


def _plain(node: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]


def check_positions(cfg: DictConfig) -> None:
    """Raise ValueError where prompt and response exceed the model's positions."""
    positions = (model_config(cfg) or {}).get("max_position_embeddings")
    response = max(cfg.sampling.max_tokens, cfg.validation.max_tokens)
    if positions is not None and cfg.data.max_prompt_tokens + response > positions:
        raise ValueError(
            f"data.max_prompt_tokens={cfg.data.max_prompt_tokens} + {response} tokens of a response "
            f"(sampling.max_tokens) are more than the {positions} positions of the model "
            f"{cfg.model.path or cfg.model.name}: lower "
            "one, or raise them by +model.overrides.max_position_embeddings=NUMBER if the model supports it"
        )


def check_packages(cfg: DictConfig) -> None:
    """Raise ValueError where the engine's package is not installed."""
    package = cfg.rollout.package
    if find_spec(package) is None:
        raise ValueError(
            f"this rollout needs the package {package}, which is not installed: run `make setup` for a CPU "
            "(extra cpu) or `pip install '.[gpu]'` for a GPU, or generate with rollout=transformers"
        )


def check_model_folder(cfg: DictConfig) -> None:
    """Raise ValueError where model.path is neither a model folder nor an id on the hub."""
    path = cfg.model.path
    if cfg.model.trust_remote_code:
        log.warning("model.trust_remote_code=true: code that comes with the model %s runs on this machine", path)
    if path is None and cfg.model.make is not None:
        return  # the project makes this model itself
    if not isinstance(path, str):
        raise ValueError(f"model.path={path} must be a folder or an id on the hub")
    folder = Path(path)
    if not folder.exists():
        if path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise ValueError(f"model.path={path} does not exist; give a folder or an id on the hub (~ is not expanded)")
        return  # an id on the hub
    check_model_files(path)


def check_weights_of(cfg: DictConfig, trained: bool) -> None:
    """Raise ValueError where a folder's weights are incomplete, or config.json shows that they cannot be trained.

    A model on the hub that is not in this machine's cache is not checked until its config.json is.
    """
    path = cfg.model.path
    config = None if path is None else local_config(path)
    if trained and config is not None:
        check_trainable(config, path)
    if path is not None and Path(path).is_dir():
        check_weights(Path(path), trained)
