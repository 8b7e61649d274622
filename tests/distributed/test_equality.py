"""Gradients, weights and metrics do not depend on how many ranks there are and what each of them does."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ENVIRONMENT, ROOT
from safetensors.torch import load_file

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

MODELS = ("qwen2", "qwen3", "qwen3_moe")
USUAL: dict[str, Any] = {
    "ranks": 1,
    "layout": {},
    "budget": 10_000,
    "attention": "sdpa",
    "sharding": {},
    "loss": "gmpo",
    "batch": "usual",
    "dtype": "float64",
    "experts": None,
    "skip": True,
    "max_logits_per_chunk": None,
}
CUT = {"budget": 45}
PACKED = {"attention": "varlen", "budget": 90}
FSDP, CP = {"ranks": 2}, {"ranks": 2, "layout": {"cp": 2}}
HSDP, CP_SHARD = {"ranks": 4, "layout": {"dp_replicate": 2}}, {"ranks": 4, "layout": {"cp": 2}}
FOR_EACH_MODEL: dict[str, dict[str, Any]] = {
    "cut": CUT,
    "packed": {"attention": "varlen"},
    "packed_cut_checkpointed": PACKED | {"sharding": {"checkpointing": "selective"}},
    "fsdp": FSDP,
    "fsdp_cut_checkpointed": FSDP | CUT | {"sharding": {"checkpointing": "all"}, "max_logits_per_chunk": 300},
    "fsdp_packed": FSDP | PACKED | {"sharding": {"reduce_gradients": "always"}},
    "cp": CP,
    "cp_packed_checkpointed": CP | PACKED | {"sharding": {"checkpointing": "all"}, "max_logits_per_chunk": 4000},
    "hsdp_cut": HSDP | CUT,
    "hsdp_packed_checkpointed": HSDP
    | PACKED
    | {"sharding": {"checkpointing": "selective", "reduce_gradients": "shards"}},
    "cp_shard": CP_SHARD,
    "cp_shard_packed": CP_SHARD | PACKED,
}
OF_ONE_MODEL: dict[str, dict[str, Any]] = {
    "fsdp_offloaded": FSDP | {"sharding": {"offload": True, "reshard_after_forward": False}},
    "fsdp_unskipped": FSDP | CUT | {"skip": False, "max_logits_per_chunk": 100},
    "hsdp_always_reduced": HSDP | CUT | {"sharding": {"reduce_gradients": "always"}},
}
OTHER_LOSSES = ("gmpo_kl_entropy", "hmpo_everything", "grpo", "gspo_wide")
OTHER_BATCHES = ("wild", "idle_rank", "nothing")


def cases(folders: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for model in MODELS:
        usual = USUAL | {"folder": folders[model]} | ({"experts": "eager"} if model == "qwen3_moe" else {})
        made |= {f"{model}-{name}": usual | case for name, case in ({"one": {}} | FOR_EACH_MODEL).items()}
    usual = USUAL | {"folder": folders["qwen2"]}
    made |= {f"qwen2-{name}": usual | case for name, case in OF_ONE_MODEL.items()}
    variants = {loss: {"loss": loss} for loss in OTHER_LOSSES} | {batch: {"batch": batch} for batch in OTHER_BATCHES}
    for name, variant in variants.items():
        here = usual | variant
        made |= {
            f"{name}-one": here,
            f"{name}-fsdp": here | FSDP | {"budget": 500},
            f"{name}-cp": here | CP | PACKED | {"budget": 500},
        }
    unsharded = {"sharding": {"reshard_after_forward": False}}
    for batch in ("idle_rank", "nothing"):
        here = usual | {"batch": batch}
        made |= {f"{batch}-cp_shard": here | CP_SHARD | PACKED, f"{batch}-hsdp": here | HSDP | unsharded}
    half = USUAL | {"folder": folders["qwen3_moe"], "dtype": "float32"}
    return made | {
        "grouped-one": half,
        "grouped-fsdp": half | FSDP | PACKED,
        "grouped-cp_shard": half | CP_SHARD | PACKED,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder with the results of every case: one launch for each number of ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    all_cases = cases({model: request.getfixturevalue(f"{model}_folder") for model in MODELS})
    environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": "1"}
    for ranks in (1, 2, 4):
        own = {name: case for name, case in all_cases.items() if case["ranks"] == ranks}
        file = folder / f"{ranks}.json"
        file.write_text(json.dumps(own))
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        command = [*launcher, str(Path(__file__).with_name("train_ranks.py")), str(file), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr[-5000:]
    return folder


NAMES = [name for name in cases(dict.fromkeys(MODELS, "")) if not name.endswith("-one")]


@pytest.mark.parametrize("name", NAMES)
def test_ranks_and_cuts_change_nothing(trained: Path, name: str) -> None:
    one = load_file(trained / f"{name.partition('-')[0]}-one.safetensors")
    other = load_file(trained / f"{name}.safetensors")
    assert one.keys() == other.keys()
    exact = 1e-9 if name.partition("-")[0] != "grouped" else 1e-4  # grouped products of matrices know no float64
    moved = 0.0
    for key, expected in one.items():
        if key.startswith("metric.") and name == "qwen2-fsdp_unskipped":
            continue  # the log-ratio's range is of the sequences that go through the model
        atol = exact if not key.startswith("metric.") else 1e-5  # metrics are kept in float32
        torch.testing.assert_close(other[key], expected, rtol=0, atol=atol, msg=lambda m, key=key: f"{key}: {m}")
        moved = max(moved, float(expected.abs().max())) if key.startswith("gradient.") else moved
    assert moved > 1e-3 or name.startswith("nothing"), "a gradient of 0 would compare equal to anything like it"
