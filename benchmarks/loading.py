"""Measure peak memory while loading a model sharded over 4 ranks: `python benchmarks/loading.py`.

A random Qwen3 (182 M parameters, 28 blocks, in files of 100 MB) is loaded in float32, from float32 and from bfloat16
files, by `load_blockwise` and, for comparison, by from_pretrained followed by fully_shard; 4 gloo ranks run in fresh
processes each time, warmed up by loading a tiny model. The table shows the memory that loading adds to a rank, the most
of the 4, as a share of the model's size in float32. "peak" is the kernel's high-water mark of resident memory (VmHWM),
which includes pages of mapped files; "anonymous" and "file" are the highest of RssAnon and RssFile in samples taken
meanwhile, not necessarily at the same time; "after" is what stays, of both. Pages of a file that several ranks have
mapped are in memory once, but count for each. Goal: a peak under 0.4.
"""

import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from gmpo.models.blockwise import load_blockwise

RANKS = 4
GOAL = 0.4
PAUSE = 0.002  # seconds between samples
SHAPE = {"vocab_size": 4096, "hidden_size": 768, "intermediate_size": 2048, "head_dim": 64}
HEADS = {"num_attention_heads": 12, "num_key_value_heads": 4, "tie_word_embeddings": False}
BLOCKS = 28
TINY = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
Shard = Callable[[nn.Module], None]


def main() -> None:
    """Write the models, measure, print the table."""
    columns = ("peak", "anonymous", "file", "after")
    with tempfile.TemporaryDirectory() as folder:
        size = write_models(Path(folder))
        print(f"{size / 1e6:.0f} MB of parameters in float32, {RANKS} ranks")
        print(f"{'files':<9} {'loaded':<9}" + "".join(f"{name:>11}" for name in columns) + f"{'seconds':>9}  goal")
        for files in ("float32", "bfloat16"):
            for way in WAYS:
                ranks = measured(way, Path(folder, files), Path(folder, "tiny"))
                shares = [max(rank[name] for rank in ranks) / size for name in columns]
                seconds = max(rank["seconds"] for rank in ranks)
                met = "met" if shares[0] < GOAL else "missed"
                cells = "".join(f"{share:>11.3f}" for share in shares)
                print(f"{files:<9} {way:<9}{cells}{seconds:>9.1f}  {met}", flush=True)


def write_models(folder: Path) -> int:
    """Write the model in both types and a tiny one; return the bytes of the first."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(num_hidden_layers=BLOCKS, **SHAPE, **HEADS))
    size = sum(parameter.nbytes for parameter in model.parameters())
    model.save_pretrained(folder / "float32", max_shard_size="100MB")
    model.to(torch.bfloat16).save_pretrained(folder / "bfloat16", max_shard_size="100MB")
    Qwen3ForCausalLM(Qwen3Config(**TINY)).save_pretrained(folder / "tiny")
    return size


def measured(way: str, model: Path, tiny: Path) -> list[dict[str, float]]:
    """Return bytes and seconds of each rank."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    done = subprocess.run([*launch, __file__, way, model, tiny], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def rank(way: str, model: str, tiny: str) -> None:
    """Run one rank and print its measurements."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (RANKS,))

    def shard(module: nn.Module) -> None:
        fully_shard(module, mesh=mesh)

    WAYS[way](tiny, shard)
    gc.collect()
    dist.barrier()
    Path("/proc/self/clear_refs").write_text("5")  # reset the high-water mark
    before, samples, stop = memory(), [], Event()

    def sample() -> None:
        while not stop.wait(PAUSE):
            samples.append(memory())

    sampler = Thread(target=sample)
    sampler.start()
    start = time.perf_counter()
    loaded = WAYS[way](model, shard)
    seconds = time.perf_counter() - start
    stop.set()
    sampler.join()
    after = memory()
    assert all(parameter.device.type == "cpu" for parameter in loaded.parameters())
    result = {
        "peak": after["VmHWM"] - before["VmRSS"],
        "anonymous": max(one["RssAnon"] for one in samples) - before["RssAnon"],
        "file": max(one["RssFile"] for one in samples) - before["RssFile"],
        "after": after["VmRSS"] - before["VmRSS"],
        "seconds": seconds,
    }
    print(json.dumps(result), flush=True)
    dist.destroy_process_group()


def memory() -> dict[str, int]:
    """Return bytes of this process, by the kernel's names."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if line[-1] == "kB"}


def in_blocks(path: str, shard: Shard) -> nn.Module:
    """Load as this project does."""
    return load_blockwise(path, torch.float32, shard)


def whole(path: str, shard: Shard) -> nn.Module:
    """Load as is usual."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    for block in model.model.layers:
        shard(block)
    shard(model)
    return model


WAYS = {"blockwise": in_blocks, "whole": whole}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        rank(*sys.argv[1:])
    else:
        main()
