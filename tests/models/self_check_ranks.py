"""Run by torchrun: load a model over split sequences and print, for each rank, what it is refused for."""

import sys

import torch
import torch.distributed as dist

from gmpo.models.pretrained import Pretrained
from gmpo.parallel.collectives import gather
from gmpo.parallel.layout import Layout
from gmpo.parallel.mesh import Mesh
from gmpo.run.errors import ModelError


def refusal(path: str, dtype: str, mesh: Mesh) -> str:
    try:
        Pretrained(path, dtype, "sdpa", longest=100).load(mesh)
    except ModelError as error:
        return str(error)
    return "loaded"


torch.set_num_threads(1)
dist.init_process_group("gloo")
split = Mesh.of(Layout.of(2, 1, None, 2), "cpu")
for folder in sys.argv[1:]:
    for kind in ("float32", "bfloat16"):
        said = gather(refusal(folder, kind, split))
        if dist.get_rank() == 0:
            print(len(set(said)), said[0], flush=True)
dist.destroy_process_group()
