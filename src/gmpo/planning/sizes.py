"""The model's sizes for the planner, and their origin."""

from omegaconf import DictConfig

from gmpo.config import model_config
from gmpo.models.files import check_is_model, check_trainable, hub_config, local_config


def find_sizes(cfg: DictConfig) -> str:
    """Fill in model.shape from the hub's config.json if necessary; returns where the sizes come from.

    Raises ValueError, with the files it looked for, where no folder, cache, hub or file in configs/model has them.
    """
    path = cfg.model.path
    if path is None:
        return f"configs/model/{cfg.model.name}.yaml"
    check_is_model(path)
    if (config := local_config(path)) is not None:
        check_trainable(config, path)
        return f"the config.json of {path} on this machine"
    try:
        cfg.model.shape = hub_config(path)
    except ValueError:
        if model_config(cfg) is None:
            raise
        return f"configs/model/{cfg.model.name}.yaml, as the hub was not reached"
    check_trainable(model_config(cfg) or {}, path)
    return f"the config.json of {path} on the hub"
