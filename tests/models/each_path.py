"""What the scripts that torchrun starts here have in common."""

import sys
from collections.abc import Callable

import torch
import torch.distributed as dist

from gmpo.run.launch import end_with_parent


def run_on_each_path(main: Callable[[str], None]) -> None:
    """On all ranks, for each argument of the command line in turn."""
    end_with_parent()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for path in sys.argv[1:]:
        main(path)
    dist.barrier()  # the exit waits for gloo's threads: one that frees a tensor then aborts (pytorch issue 190489)
    dist.destroy_process_group()
