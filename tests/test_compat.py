"""What is private to torch, transformers, Lightning and vLLM is named in one place, is there, and does what it did."""

import re
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule, Trainer
from test_layers import SOURCE, imports
from transformers import AutoModelForCausalLM

from gmpo import compat
from gmpo.rollout.vllm_compat import shared_memory_named

PRIVATE = re.compile(r"(torch|transformers|lightning|vllm)\..*\b_(?!_)")
HOMES = ("gmpo.compat", "gmpo.rollout.vllm")


def test_private_names_are_imported_in_one_place() -> None:
    found = [(module, name) for module, name in imports() if PRIVATE.match(name)]
    assert ("gmpo.compat", "torch.serialization._get_layout") in found
    assert [(module, name) for module, name in found if not module.startswith(HOMES)] == []
    other = "torch.ops.torch_attn._varlen_attn"
    assert [path for path in SOURCE.rglob("*.py") if other in path.read_text()] == [SOURCE / "gmpo/compat/__init__.py"]


def test_names_of_torch() -> None:
    assert compat.flatten_state_dict({"a": {"b": 1}})[0] == {"a.b": 1}
    assert compat.get_layout("torch.strided") is torch.strided
    assert compat.StorageInfo("file", 0, 8).length == 8
    compat.ProfilerSettings(profile_all_threads=True)
    assert issubclass(compat.AsyncCollectiveTensor, torch.Tensor)
    assert callable(compat.all_to_all_single_autograd)
    assert all(isinstance(kernel, torch._ops.OpOverload) for kernel in [compat.GROUPED_PRODUCT, *compat.ATTENTION])
    assert compat.fake_store() is not None


def test_names_of_transformers(qwen2_folder: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(qwen2_folder, attn_implementation="sdpa")
    assert not compat.dtype_plan(model, torch.bfloat16)
    assert compat.attention_of(model) == "sdpa"
    compat.set_attention(model, "eager")
    assert compat.attention_of(model) == "eager"


def test_names_of_lightning() -> None:
    module = LightningModule()
    compat.set_device(module, torch.device("meta"))
    assert module.device == torch.device("meta")
    compat.forget_logged(Trainer(accelerator="cpu", logger=False, enable_checkpointing=False), "training_step")


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.vllm
def test_names_of_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.compilation import decorators
    from vllm.distributed.device_communicators.cpu_communicator import _CPUSHMDistributed

    assert callable(decorators._support_torch_compile)
    monkeypatch.setenv("VLLM_DIST_IDENT", "//")  # what vLLM sets where a launcher has made the process group
    group = SimpleNamespace(unique_name="tp:0", ranks=[0, 1])
    own = _CPUSHMDistributed.make_group_name(group)
    with shared_memory_named("1f0a"):
        assert _CPUSHMDistributed.make_group_name(group) == f"1f0a{own.lstrip('/')}"
    assert _CPUSHMDistributed.make_group_name(group) == own
