"""Loading block by block gives what from_pretrained gives, and refuses what from_pretrained would make up."""

import gc
import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from conftest import ENVIRONMENT, ROOT, SMALL
from safetensors.torch import load_file, save_file
from tiny_models import tiny_folder
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from gmpo.models.blockwise import load_blockwise

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "rope_theta": 10000.0}
SIZES = SMALL | {"vocab_size": 260, "intermediate_size": 64}
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 6, "num_experts_per_tok": 2, "head_dim": 32}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(tie_word_embeddings=True, **SIZES)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(tie_word_embeddings=False, head_dim=32, **SIZES)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(tie_word_embeddings=False, rope_parameters=YARN, **SIZES)),
    "qwen3_moe": lambda: Qwen3MoeForCausalLM(Qwen3MoeConfig(tie_word_embeddings=False, **EXPERTS, **SIZES)),
}
FUSED = "qwen3_moe_fused"  # the names that transformers 5 has in memory, not those of published checkpoints
CASES = [*MODELS, FUSED]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models with random norms and biases too, each in several files."""
    root = tmp_path_factory.mktemp("models")
    for name, build in MODELS.items():
        torch.manual_seed(0)
        model = build()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.15)
        model.save_pretrained(root / name, max_shard_size="100KB")
        if name == "qwen3_moe":
            model.save_pretrained(root / FUSED, max_shard_size="100KB", save_original_format=False)
    return {name: root / name for name in CASES}


def nothing(module: nn.Module) -> None:
    pass


def tensors_in(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def in_one_file(folder: Path, output: Path, edit: Callable[[dict[str, Tensor]], object]) -> str:
    """A copy of a model whose tensors were edited."""
    output.mkdir()
    tensors = tensors_in(folder)
    edit(tensors)
    save_file(tensors, output / "model.safetensors", {"format": "pt"})
    shutil.copy(folder / "config.json", output)
    return str(output)


def assert_the_same(model: PreTrainedModel, expected: PreTrainedModel) -> None:
    for own, other in (
        (dict(model.named_parameters()), dict(expected.named_parameters())),  # a tied one once
        (dict(model.named_buffers()), dict(expected.named_buffers())),
    ):
        assert own.keys() == other.keys()
        for name, tensor in own.items():
            assert (tensor.dtype, tensor.device) == (other[name].dtype, other[name].device), name
            assert torch.equal(tensor, other[name]), name
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.config.to_dict() == expected.config.to_dict()
    assert model.config.name_or_path == expected.config.name_or_path
    assert model.generation_config.to_dict() == expected.generation_config.to_dict()
    ids = torch.randint(260, (2, 9), generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(ids).logits, expected(ids).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_the_model_is_from_pretraineds_bit_by_bit(folders: dict[str, Path], name: str, dtype: torch.dtype) -> None:
    path = str(folders[name])
    assert len(list(folders[name].glob("*.safetensors"))) >= 3
    settings = {"attn_implementation": "eager", "use_cache": False}
    if "moe" in name:
        settings["experts_implementation"] = "eager"
    before = torch.get_rng_state()
    model = load_blockwise(path, dtype, nothing, **settings)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    assert model.config._attn_implementation == "eager"
    assert_the_same(model, AutoModelForCausalLM.from_pretrained(path, dtype=dtype, **settings))


def test_both_names_of_experts_are_tested(folders: dict[str, Path]) -> None:
    assert "model.layers.1.mlp.experts.5.gate_proj.weight" in tensors_in(folders["qwen3_moe"])
    assert tensors_in(folders[FUSED])["model.layers.1.mlp.experts.gate_up_proj"].shape == (6, 64, 64)


@pytest.mark.parametrize("name", ["qwen3_moe", FUSED])
def test_it_is_saved_under_the_names_that_it_came_with(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    load_blockwise(str(folders[name]), torch.float32, nothing).save_pretrained(tmp_path / "own")
    AutoModelForCausalLM.from_pretrained(folders[name], dtype=torch.float32).save_pretrained(tmp_path / "other")
    own, other = tensors_in(tmp_path / "own"), tensors_in(tmp_path / "other")
    assert own.keys() == other.keys()
    assert all(torch.equal(tensor, other[key]) for key, tensor in own.items())


def model_of(block: nn.Module) -> PreTrainedModel:
    """The model that is being loaded: a block does not know it."""
    models = (thing for thing in gc.get_objects() if issubclass(type(thing), PreTrainedModel))
    return next(model for model in models if hasattr(model, "lm_head") and block in list(model.model.layers))


def on_meta(module: nn.Module) -> set[bool]:
    return {parameter.is_meta for parameter in module.parameters()}


@pytest.mark.parametrize("name", ["qwen2", "qwen3_moe"])
def test_blocks_are_sharded_one_by_one_and_then_the_rest(folders: dict[str, Path], name: str) -> None:
    sharded: list[nn.Module] = []

    def shard(module: nn.Module) -> None:
        sharded.append(module)
        assert on_meta(module) == {False}
        if isinstance(module, PreTrainedModel):
            is_one = module.lm_head.weight is module.model.embed_tokens.weight
            assert is_one == module.config.tie_word_embeddings
        else:
            model = model_of(module)
            later = list(model.model.layers)[len(sharded) :]
            assert all(on_meta(rest) == {True} for rest in (*later, model.model.embed_tokens, model.lm_head))

    model = load_blockwise(str(folders[name]), torch.float32, shard)
    assert sharded == [*model.model.layers, model]
    assert len(sharded) == 3


def mapped_files() -> list[str]:
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(".safetensors")]


def assert_no_file_is_mapped(*_: nn.Module) -> None:
    gc.collect()  # models of other tests
    patience = time.monotonic() + 5  # a reading thread lets go of its last tensor a moment after it is there
    while mapped_files() and time.monotonic() < patience:
        time.sleep(0.01)
    assert mapped_files() == []


def test_no_file_stays_open(folders: dict[str, Path]) -> None:
    """In float32, which is what the files have, the weights would be the mapped ones."""
    load_blockwise(str(folders["qwen3_moe"]), torch.float64, assert_no_file_is_mapped)


def test_tied_weights_of_which_the_file_has_both(folders: dict[str, Path], tmp_path: Path) -> None:
    def load(edit: Callable[[Tensor], Tensor], name: str) -> PreTrainedModel:
        def add_head(tensors: dict[str, Tensor]) -> None:
            tensors["lm_head.weight"] = edit(tensors["model.embed_tokens.weight"].clone())

        path = in_one_file(folders["qwen2"], tmp_path / name, add_head)
        model = load_blockwise(path, torch.float32, nothing)
        assert_the_same(model, AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32))
        return model

    equal, other = load(lambda weight: weight, "equal"), load(lambda weight: weight + 1, "other")
    assert equal.lm_head.weight is equal.model.embed_tokens.weight
    assert other.lm_head.weight is not other.model.embed_tokens.weight


def test_tied_weights_of_which_the_file_has_the_head(folders: dict[str, Path], tmp_path: Path) -> None:
    def rename(tensors: dict[str, Tensor]) -> None:
        tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")

    path = in_one_file(folders["qwen2"], tmp_path / "model", rename)
    model = load_blockwise(path, torch.float32, nothing)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert_the_same(model, AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32))


@pytest.mark.parametrize("where", ["generation_config.json", "config.json"])
def test_settings_of_generation(folders: dict[str, Path], tmp_path: Path, where: str) -> None:
    path = in_one_file(folders["qwen3"], tmp_path / "model", dict)
    file = tmp_path / "model" / where
    before = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(before | {"temperature": 0.6, "top_k": 7, "eos_token_id": [1, 2]}))
    model = load_blockwise(path, torch.float32, nothing)
    assert model.generation_config.eos_token_id == [1, 2]
    assert_the_same(model, AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32))


def test_a_tensor_without_a_place_is_left_out(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def add(tensors: dict[str, Tensor]) -> None:
        tensors["model.layers.7.mlp.up_proj.weight"] = torch.ones(1)

    path = in_one_file(folders["qwen3"], tmp_path / "model", add)
    with caplog.at_level(logging.WARNING):
        load_blockwise(path, torch.float32, nothing)
    assert f"{path}: the model has no place for model.layers.7.mlp.up_proj.weight" in caplog.text


MOE = "model.layers.1.mlp.experts"


@pytest.mark.parametrize(
    ("name", "tensor", "replacement", "fault"),
    [
        ("qwen3", "model.layers.1.mlp.up_proj.weight", None, "model.layers.1.mlp.up_proj.weight is missing"),
        ("qwen3", "model.norm.weight", None, "model.norm.weight is missing"),
        ("qwen3", "lm_head.weight", None, "lm_head.weight is missing"),
        ("qwen2", "model.embed_tokens.weight", None, "lm_head.weight is missing, model.embed_tokens.weight is missing"),
        ("qwen3", "model.norm.weight", (63,), "model.norm.weight is [63] and not [64]"),
        (
            "qwen3",
            "model.layers.0.mlp.up_proj.weight",
            (64, 32),
            "model.layers.0.mlp.up_proj.weight is [64, 32] and not [64, 64]",
        ),
        ("qwen3_moe", f"{MOE}.2.down_proj.weight", None, f"{MOE}.down_proj is [5, 64, 32] and not [6, 64, 32]"),
        ("qwen3_moe", f"{MOE}.2.up_proj.weight", None, f"{MOE}.gate_up_proj cannot be made of its tensors (Sizes of"),
        (
            "qwen3_moe",
            f"{MOE}.2.up_proj.weight",
            (32, 63),
            f"{MOE}.gate_up_proj cannot be made of its tensors (stack expects each tensor to be equal size, but got",
        ),
        (FUSED, f"{MOE}.gate_up_proj", None, f"{MOE}.gate_up_proj is missing"),
    ],
)
def test_weights_that_are_missing_or_of_another_shape(
    folders: dict[str, Path], tmp_path: Path, name: str, tensor: str, replacement: tuple[int, ...] | None, fault: str
) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        del tensors[tensor]
        if replacement is not None:
            tensors[tensor] = torch.ones(replacement)

    path = in_one_file(folders[name], tmp_path / "model", spoil)
    with pytest.raises(ValueError, match=r"are not those of its config") as raised:
        load_blockwise(path, torch.float32, nothing)
    assert f"the weights in {path} are not those of its config: {fault}" in str(raised.value)


def test_a_damaged_file(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["qwen3"], tmp_path / "model")
    file = sorted(folder.glob("*.safetensors"))[1]
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match=rf"{file} cannot be read"):
        load_blockwise(str(folder), torch.float32, nothing)
    file.unlink()
    with pytest.raises(ValueError, match=rf"{folder} is not whole: .* names 4 files, and {file.name} is missing"):
        load_blockwise(str(folder), torch.float32, nothing)


def test_no_safetensors(folders: dict[str, Path], tmp_path: Path) -> None:
    path = in_one_file(folders["qwen3"], tmp_path / "model", dict)
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=rf"{path} has no weights that can be read block by block.*save_pretrained"):
        load_blockwise(path, torch.float32, nothing)


@pytest.mark.parametrize("model_type", ["gpt2", "gpt_neox", "falcon", "opt", "mixtral"])
def test_blocks_are_found_wherever_a_model_keeps_them(tmp_path: Path, model_type: str) -> None:
    path = tiny_folder(tmp_path / "model", model_type)
    sharded: list[nn.Module] = []
    model = load_blockwise(path, torch.float32, sharded.append)
    assert len(sharded) == 3
    assert sharded[-1] is model
    expected = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    ids = torch.randint(260, (2, 9), generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(ids).logits, expected(ids).logits)


def test_other_models(folders: dict[str, Path], tmp_path: Path) -> None:
    path = in_one_file(folders["qwen3"], tmp_path / "quantized", dict)
    config = tmp_path / "quantized" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": {"quant_method": "fp8"}}))
    with pytest.raises(ValueError, match=r"quantized has quantized weights .*: fp8"):
        load_blockwise(path, torch.float32, nothing)
    with pytest.raises(ValueError, match="/nowhere/at/all is neither a folder nor the id"):
        load_blockwise("/nowhere/at/all", torch.float32, nothing)


@pytest.fixture
def one_rank() -> Iterator[DeviceMesh]:
    ours = not dist.is_initialized()  # Lightning leaves its group behind
    if ours:
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    if ours:
        dist.destroy_process_group()


@pytest.mark.parametrize("name", CASES)
def test_sharded_on_one_rank(folders: dict[str, Path], name: str, one_rank: DeviceMesh) -> None:
    path = str(folders[name])
    model = load_blockwise(path, torch.float32, lambda module: fully_shard(module, mesh=one_rank))
    assert_no_file_is_mapped()
    expected = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    weights = dict(expected.named_parameters())
    assert [key for key, _ in model.named_parameters()] == list(weights)
    for key, parameter in model.named_parameters():
        assert isinstance(parameter, DTensor)
        assert torch.equal(parameter.full_tensor(), weights[key])
    ids = torch.arange(18).reshape(2, 9)
    # not to the bit: FSDP's buffers are aligned otherwise, and some CPUs sum a product of experts in another order then
    torch.testing.assert_close(model(ids).logits, expected(ids).logits, rtol=0, atol=1e-5)


def as_hub(folder: Path, cache: Path) -> str:
    """The folder as a model that was downloaded from the hub before; its id."""
    snapshot = cache / "models--gmpo--tiny" / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(folder, snapshot)
    (cache / "models--gmpo--tiny" / "refs").mkdir()
    (cache / "models--gmpo--tiny" / "refs" / "main").write_text(snapshot.name)
    return "gmpo/tiny"


@pytest.mark.distributed
@pytest.mark.slow
def test_sharded_on_four_ranks(folders: dict[str, Path], tmp_path: Path) -> None:
    """The experts do not divide by four; one model comes from the hub's cache."""
    models = [*(str(folders[name]) for name in ("qwen2", "qwen3_moe", FUSED)), as_hub(folders["qwen3"], tmp_path)]
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    script = str(Path(__file__).with_name("four_ranks.py"))
    done = subprocess.run(
        [*command, script, *models], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.splitlines()) == sorted(f"{model} is the same" for model in models for _ in range(4))
