"""The arrangement of a run's ranks. Arithmetic only, without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """dp_replicate x dp_shard x cp ranks; cp changes fastest from rank to rank.

    Ranks that differ in cp alone train the same sequences, a part of each (context parallelism). Parameters are
    sharded over dp_shard x cp ranks; there are dp_replicate copies of these shards.
    """

    dp_replicate: int
    dp_shard: int
    cp: int

    @classmethod
    def of(cls, world_size: int, dp_replicate: int = 1, dp_shard: int | None = None, cp: int = 1) -> Layout:
        """Return the layout of `world_size` ranks; dp_shard=None takes all remaining ranks.

        Raises ValueError, with the arithmetic, where the sizes do not multiply to that number.
        """
        for name, size in {"dp_replicate": dp_replicate, "dp_shard": dp_shard, "cp": cp}.items():
            optional = size is None and name == "dp_shard"
            if not optional and (type(size) is not int or size < 1):
                raise ValueError(f"cluster.{name}={size} must be a whole number of at least 1")
        left, rest = divmod(world_size, dp_replicate * cp)
        if dp_shard is None and rest:
            raise ValueError(
                f"{world_size} ranks cannot be divided by cluster.dp_replicate={dp_replicate} x cluster.cp={cp} = "
                f"{dp_replicate * cp}: {world_size} = {left} x {dp_replicate * cp} + {rest}. Change one of them, or "
                "cluster.devices and cluster.nodes"
            )
        layout = cls(dp_replicate, left if dp_shard is None else dp_shard, cp)
        if layout.world_size != world_size:
            raise ValueError(
                f"cluster.dp_replicate={dp_replicate} x cluster.dp_shard={dp_shard} x cluster.cp={cp} = "
                f"{layout.world_size} ranks, but {world_size} are started: change one of them (cluster.dp_shard=null "
                "takes what is left), or cluster.devices and cluster.nodes"
            )
        return layout

    @property
    def world_size(self) -> int:
        """The number of all ranks."""
        return self.data_parallel * self.cp

    @property
    def data_parallel(self) -> int:
        """Groups of ranks that train sequences of their own."""
        return self.dp_replicate * self.dp_shard

    @property
    def fsdp_shard(self) -> int:
        """Ranks that a copy of the parameters is sharded over."""
        return self.dp_shard * self.cp

    def __str__(self) -> str:
        return (
            f"{self.world_size} ranks = {self.dp_replicate} dp_replicate x {self.dp_shard} dp_shard x {self.cp} cp; "
            f"parameters sharded over {self.fsdp_shard}, sequences spread over {self.data_parallel}"
        )


@dataclass(frozen=True)
class EngineLayout:
    """Engines over the ranks: rank r belongs to engine r // tensor_parallel, whose first rank keeps its responses."""

    rank: int
    world_size: int
    tensor_parallel: int

    @property
    def engines(self) -> int:
        """The number of engines."""
        return self.world_size // self.tensor_parallel

    @property
    def engine(self) -> int:
        """The engine that this rank belongs to."""
        return self.rank // self.tensor_parallel

    @property
    def leads(self) -> bool:
        """Whether this rank keeps the engine's responses."""
        return self.rank % self.tensor_parallel == 0


def kv_repeats(heads: int, kv_heads: int, cp: int) -> int:
    """Return how often each key/value head is repeated, so that each of cp ranks gets equally many.

    Raises ValueError, with the arithmetic, where the query heads cannot be divided.
    """
    if heads % cp:
        raise ValueError(
            f"cluster.cp={cp} does not divide the {heads} attention heads of the model: {heads} = {heads // cp} x {cp} "
            f"+ {heads % cp}. Choose a cluster.cp that does"
        )
    fitting = (r for r in range(1, heads // kv_heads + 1) if heads % (kv_heads * r) == 0 and kv_heads * r % cp == 0)
    return next(fitting)


def check_tensor_parallel(size: int, heads: int, kv_heads: int, width: int | None) -> None:
    """Raise ValueError, with the arithmetic, where an engine cannot split a model over this many ranks.

    width: of the feed-forward part, or of one expert's.
    """
    for count, of in ((heads, "attention heads"), (width, "columns of the feed-forward part")):
        if count is not None and count % size:
            raise ValueError(
                f"rollout.engine.tensor_parallel={size} does not divide the {count} {of} of the model: {count} = "
                f"{count // size} x {size} + {count % size}"
            )
    if kv_heads % size and size % kv_heads:
        raise ValueError(
            f"rollout.engine.tensor_parallel={size} neither divides the {kv_heads} key/value heads of the model nor is "
            "a multiple of them"
        )
