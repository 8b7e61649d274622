"""Checks of the machine and its ranks."""

from omegaconf import DictConfig, OmegaConf

from gmpo.config.model import model_config
from gmpo.config.values import divisors
from gmpo.parallel.layout import Layout, check_tensor_parallel, kv_repeats
from gmpo.run.launch import launch


def check_ranks(cfg: DictConfig) -> None:
    """Raise ValueError where the numbers of ranks, engines and model dimensions do not divide each other."""
    cluster, layout = cfg.cluster, layout_of(cfg)
    per_engine = OmegaConf.select(cfg, "rollout.engine.tensor_parallel", default=1)
    if layout.world_size % per_engine:
        raise ValueError(
            f"rollout.engine.tensor_parallel={per_engine} must divide the {layout.world_size} ranks of "
            f"cluster.devices={cluster.devices} x cluster.nodes={cluster.nodes}: choose one of "
            f"{', '.join(map(str, divisors(layout.world_size)))}"
        )
    engines = layout.world_size // per_engine
    if cfg.batch.prompts % engines:
        raise ValueError(
            f"batch.prompts={cfg.batch.prompts} cannot be shared by {engines} engines ({layout.world_size} ranks / "
            f"rollout.engine.tensor_parallel={per_engine}): {cfg.batch.prompts} = {cfg.batch.prompts // engines} x "
            f"{engines} + {cfg.batch.prompts % engines}. Choose a multiple of {engines}"
        )
    if (config := model_config(cfg)) is not None:
        heads = config.get("num_attention_heads", 1)
        kv_heads = config.get("num_key_value_heads") or heads
        kv_repeats(heads, kv_heads, layout.cp)
        width = config.get("moe_intermediate_size") or config.get("intermediate_size")
        check_tensor_parallel(per_engine, heads, kv_heads, width)


def check_launch(cfg: DictConfig) -> None:
    """Raise ValueError for several nodes where no launcher started this process."""
    cluster = cfg.cluster
    if cluster.nodes > 1 and not launch().is_external:
        raise ValueError(
            f"cluster.nodes={cluster.nodes}: on several nodes all processes are started from outside: srun python "
            f"train.py ..., or torchrun --nnodes {cluster.nodes} --nproc-per-node {cluster.devices} train.py ... on "
            "each node"
        )


def layout_of(cfg: DictConfig) -> Layout:
    """Return the arrangement of a config's ranks; raises ValueError where there is none."""
    cluster = cfg.cluster
    return Layout.of(cluster.devices * cluster.nodes, cluster.dp_replicate, cluster.dp_shard, cluster.cp)
