"""Folders that are no model, or no whole one: one sentence with the file and the remedy, before anything is loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
from conftest import save
from tiny_models import tiny_config, tiny_folder, tiny_model

from gmpo.models.files import check_format, check_model_files, check_trainable, check_weights, local_config


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in several files."""
    folder = tmp_path_factory.mktemp("models") / "whole"
    save(tiny_model("llama"), folder)
    (folder / "model.safetensors").unlink()
    tiny_model("llama").save_pretrained(folder, max_shard_size="60KB")
    return folder


def checked(folder: Path) -> None:
    """As the commands do before they import torch."""
    check_model_files(str(folder))
    check_trainable(local_config(str(folder)) or {}, str(folder))
    check_weights(folder, trained=True)


def first_shard(folder: Path) -> Path:
    return sorted(folder.glob("model-*.safetensors"))[0]


def edited(name: str, **values: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        file = folder / name
        before = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(before | values))

    return edit


def written(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def cut_off(folder: Path) -> None:
    file = first_shard(folder)
    file.write_bytes(file.read_bytes()[:-10])


def of_git(folder: Path) -> None:
    first_shard(folder).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def without(*patterns: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for pattern in patterns:
            for file in folder.glob(pattern):
                file.unlink()

    return remove


def only_gguf(folder: Path) -> None:
    without("*")(folder)
    (folder / "model-Q4_K_M.gguf").write_bytes(b"GGUF")


def only_bin(folder: Path) -> None:
    without("model*")(folder)
    (folder / "pytorch_model.bin").write_bytes(b"")


def adapter(folder: Path) -> None:
    without("*")(folder)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "some/base", "r": 8}))


INDEX = "model.safetensors.index.json"
BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "config_not_json": (
        written("config.json", '{"model_type": '),
        r"config.json is not JSON \(Expecting value: line 1",
    ),
    "config_a_list": (written("config.json", "[]"), r"config.json holds a list and not an object"),
    "config_of_git": (
        written("config.json", "version https://git-lfs"),
        r"config.json is git's pointer .*git lfs pull",
    ),
    "no_config": (without("config.json"), r"holds no config.json"),
    "composite": (
        edited("config.json", model_type="gemma3", text_config={"model_type": "gemma3_text"}),
        r"made of several: .*model_type=gemma3\) has the text model in text_config \(model_type=gemma3_text\)",
    ),
    "composite_by_another_name": (
        edited("config.json", model_type="intern", llm_config={"model_type": "qwen2"}),
        r"has the text model in llm_config \(model_type=qwen2\)",
    ),
    "quantized": (
        edited("config.json", quantization_config={"quant_method": "awq"}),
        r"quantized weights \(quantization_config in its config.json: awq\).*give the original",
    ),
    "adapter": (adapter, r"is a LoRA adapter of some/base: merge it first .*merge_and_unload"),
    "gguf": (only_gguf, r"is GGUF, not a folder in the Hugging Face format: give the folder"),
    "no_weights": (without("model*"), r"has no weights \(neither model.safetensors nor"),
    "bin": (only_bin, r"no weights that can be read block by block .* convert"),
    "missing_shard": (without("model-00002*"), r"is not whole: .* names \d+ files, and model-00002-of-\S+ is missing"),
    "cut_off_shard": (cut_off, r"model-00001-of-\S+ cannot be read .*copy or download"),
    "shard_of_git": (of_git, r"model-00001-of-\S+ is git's pointer"),
    "index_not_json": (written(INDEX, "{"), r"index.json is not JSON"),
    "index_without_map": (written(INDEX, "{}"), r"index.json has no weight_map"),
    "no_tokenizer": (without("tokenizer*", "vocab*"), r"holds no tokenizer"),
    "broken_tokenizer": (written("tokenizer.json", "{"), r"tokenizer.json is not JSON"),
    "broken_tokenizer_config": (written("tokenizer_config.json", "no"), r"tokenizer_config.json is not JSON"),
    "broken_generation_config": (written("generation_config.json", ""), r"generation_config.json is not JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_folders(whole: Path, tmp_path: Path, name: str) -> None:
    spoil, said = BAD[name]
    folder = shutil.copytree(whole, tmp_path / "model")
    checked(folder)
    spoil(folder)
    with pytest.raises(ValueError, match=said) as refused:
        checked(folder)
    assert str(folder) in str(refused.value)


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match=r"model.gguf is GGUF, not a folder"):
        check_format(str(tmp_path / "model.gguf"))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"model.safetensors is a file, not a folder"):
        check_format(str(tmp_path / "model.safetensors"))


def test_an_engine_reads_other_weights_too(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "model")
    only_bin(folder)
    check_weights(folder, trained=False)
    with pytest.raises(ValueError, match="block by block"):
        check_weights(folder, trained=True)


COMMANDS = {
    "train.py": ("experiment=quickstart", "rollout=transformers"),
    "evaluate.py": ("rollout=transformers",),
    "plan.py": ("experiment=quickstart",),
}


def asked(command: str, folder: Path, *more: str) -> str:
    """Return the last line, after a refusal without a traceback."""
    arguments = (f"model={folder}", *COMMANDS[command], f"run.root={folder.parent}/runs", *more)
    done = forked.run(command, *arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *((command, name) for command in COMMANDS for name in ("config_not_json", "adapter")),
        ("train.py", "missing_shard"),
        ("evaluate.py", "cut_off_shard"),
        ("plan.py", "composite"),
        ("train.py", "gguf"),
    ],
)
def test_commands_refuse_them_in_one_line(whole: Path, tmp_path: Path, command: str, name: str) -> None:
    spoil, said = BAD[name]
    folder = shutil.copytree(whole, tmp_path / "model")
    spoil(folder)
    with pytest.raises(ValueError, match=said):
        raise ValueError(asked(command, folder))


@pytest.mark.slow
def test_what_only_a_loaded_model_tells_is_one_line_too(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny_folder(folder, "falcon_h1", lm_head_multiplier=0.5)
    said = asked("train.py", folder, "sampling.max_tokens=8")
    assert said.startswith(f"error: model.path={folder} changes its logits after its head")


@pytest.mark.slow
def test_weights_of_another_config_are_one_line(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "model")
    edited("config.json", intermediate_size=48)(folder)
    said = asked("train.py", folder)
    assert said.startswith(f"error: the weights in {folder} are not those of its config: ")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_type": "no_such_model"}, r"has a config.json that transformers \S+ does not take \("),
        ({"num_attention_heads": "two"}, r"has a config.json that transformers \S+ does not take \("),
        ({"model_type": "t5"}, r"cannot be made a causal language model \(model_type=t5"),
    ],
)
def test_configs_that_transformers_does_not_take(whole: Path, tmp_path: Path, values: dict, said: str) -> None:
    from gmpo.models.pretrained import Pretrained

    folder = shutil.copytree(whole, tmp_path / "model")
    edited("config.json", **values)(folder)
    with pytest.raises(ValueError, match=said) as refused:
        Pretrained(str(folder)).check(1)
    assert "\n" not in str(refused.value)


def test_heads_that_a_config_does_not_give(tmp_path: Path) -> None:
    from gmpo.models.pretrained import Pretrained, cost_of

    path = tiny_folder(tmp_path / "mixtral", "mixtral", head_dim=None, sliding_window=None)
    pretrained = Pretrained(path)
    cost = cost_of(pretrained.load(None))
    assert cost.quadratic == 2 * 64
    pretrained.check(2)
    with pytest.raises(ValueError, match=r"cluster.cp=3 does not divide the 2 attention heads"):
        pretrained.check(3)
    assert tiny_config("mixtral").num_local_experts == 4
