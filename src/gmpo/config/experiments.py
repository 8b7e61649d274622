"""The list of experiments, shown where none is chosen."""

from collections.abc import Iterator

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, OmegaConf

from gmpo.config.values import missing_keys

CHOSEN = {"model": "model", "data": "data.dataset", "reward": "reward"}  # a group, and the part that it sets


def check_chosen(cfg: DictConfig) -> None:
    """Raise ValueError, listing all experiments, where none is chosen and some key has no value."""
    chosen = HydraConfig.get()
    if chosen.runtime.choices.get("experiment") is not None:
        return
    if open_keys := unchosen(cfg):
        listed = "\n".join(f"  {line}" for line in experiments(str(chosen.job.config_name)))
        raise ValueError(
            f"no experiment is chosen, and {', '.join(open_keys)} have no value: choose one, override what you like\n"
            f"{listed}"
        )


def unchosen(cfg: DictConfig) -> list[str]:
    """Return the groups without a choice and the keys without a value."""
    groups = [group for group, part in CHOSEN.items() if OmegaConf.select(cfg, part) is None]
    return [*groups, *missing_keys(cfg), *(["run.name"] if cfg.run.name is None else [])]


def experiments(config_name: str) -> Iterator[str]:
    """Yield a line for each experiment: its name, model, data and machines."""
    names = GlobalHydra.instance().config_loader().get_group_options("experiment", ObjectType.CONFIG)
    for name in names:
        cfg = compose(config_name, [f"experiment={name}"], return_hydra_config=True)
        choices, cluster = cfg.hydra.runtime.choices, cfg.cluster
        count = cluster.devices * cluster.nodes
        gpus = (
            f"{count} GPU{'s' * (count > 1)} of {cluster.gpu_memory_gib} GB" if cluster.accelerator == "gpu" else "CPU"
        )
        yield f"experiment={name:<22} model={choices.model:<24} data={choices.data:<16} {gpus}"
