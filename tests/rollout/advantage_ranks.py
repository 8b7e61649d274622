"""Each rank of a torchrun assigns advantages to its groups; rank 0 prints them in the order of the batch, as JSON."""

import json

import torch.distributed as dist
from small_training import groups
from torch import Tensor

from gmpo.batching import in_order
from gmpo.parallel.collectives import gather, rank, world_size
from gmpo.rollout.batch_advantages import BatchAdvantages


def whitened(rewards: Tensor, group_ids: Tensor, lengths: Tensor) -> Tensor:
    """Over the whole batch, by what a token is worth."""
    worth = rewards / lengths
    return (worth - worth.mean()) / worth.std() + group_ids


def main() -> None:
    dist.init_process_group("gloo")
    own = groups(6)[rank() :: world_size()]
    BatchAdvantages(whitened).assign(own)
    batch = in_order(gather([[rollout.advantage for rollout in group.rollouts] for group in own]))
    if rank() == 0:
        print(json.dumps(batch))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
