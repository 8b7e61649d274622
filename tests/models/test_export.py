"""Checkpoints of the real Trainer, exported: transformers and vLLM find the trainer's log-probs again."""

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from conftest import ENVIRONMENT, ROOT, make_prompt
from rollout.engine_checks import generate
from safetensors.torch import load_file
from small_training import fit, groups, module
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
)

from gmpo.batching import pad_sequences, response_rows, sequences_of
from gmpo.callbacks.final_model import save_hugging_face
from gmpo.checkpoint import storage
from gmpo.models.export import export
from gmpo.models.hugging_face import whole_folder
from gmpo.models.log_probs import response_log_probs
from gmpo.models.pretrained import Pretrained
from gmpo.models.tiny import character_tokenizer
from gmpo.policy.module import PolicyModule
from gmpo.run.folder import mark_finished
from gmpo.types import Group, Rollout, Sampling

DAMAGED = "take another checkpoint"


@dataclass(frozen=True)
class Run:
    """A policy after two updates, and where it is saved."""

    base_model: str
    policy: PolicyModule
    checkpoint: Path
    log_probs: list[Tensor]  # the trainer's, of the responses of `groups()`

    def gap(self, folder: Path) -> float:
        """The largest difference between the trainer's log-probs and those of an exported model."""
        model = AutoModelForCausalLM.from_pretrained(folder)
        return max(float((a - b).abs().max()) for a, b in zip(self.log_probs, log_probs(model), strict=True))


def float32(folder: str) -> PolicyModule:
    return module(folder, dtype="float32")


def trained(folder: str, checkpoint: Path) -> Run:
    policy = fit(float32(folder), steps=2)
    policy.trainer.save_checkpoint(checkpoint)
    return Run(folder, policy, checkpoint, trainers_log_probs(policy, groups()))


def trainers_log_probs(policy: PolicyModule, responses: list[Group]) -> list[Tensor]:
    policy.old_log_probs.fill(responses)
    return [rollout.old_log_probs for _, rollout in sequences_of(responses)]  # type: ignore[misc]


@torch.no_grad()
def log_probs(model: PreTrainedModel) -> list[Tensor]:
    batch = pad_sequences(sequences_of(groups()), pad_token_id=0)
    return response_rows(response_log_probs(model, batch, temperature=1.0)[0], batch.mask)


def test_a_config_that_was_overridden_is_exported_so(qwen2_folder: str, tmp_path: Path) -> None:
    policy = module(qwen2_folder, dtype="float32")
    policy.pretrained = Pretrained(qwen2_folder, overrides={"max_position_embeddings": 2048})
    fit(policy).trainer.save_checkpoint(tmp_path / "step-1")
    export(str(tmp_path / "step-1"), str(tmp_path / "exported"))
    read = AutoConfig.from_pretrained
    assert read(tmp_path / "exported").max_position_embeddings == policy.model.config.max_position_embeddings == 2048
    assert read(qwen2_folder).max_position_embeddings == 512
    with pytest.raises(ValueError, match=r"model.overrides names positions, which .* does not have in its config"):
        Pretrained(qwen2_folder, overrides={"positions": 1}).check(1)


@pytest.fixture(scope="module")
def tied(qwen2_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(qwen2_folder, tmp_path_factory.mktemp("tied") / "step-2")


@pytest.fixture(scope="module")
def experts(qwen3_moe_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(qwen3_moe_folder, tmp_path_factory.mktemp("experts") / "step-2")


@pytest.fixture(params=["tied", "experts"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(request.param)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_sharded_checkpoint_gives_the_trainers_log_probs_again(run: Run, tmp_path: Path) -> None:
    done = export(str(run.checkpoint), str(tmp_path / "out"))
    assert run.gap(tmp_path / "out") < 1e-6
    assert run.gap(Path(run.base_model)) > 1e-2, "the policy has moved"
    parameters = sum(tensor.numel() for _, tensor in run.policy.weights())
    assert f"out: {parameters:,} parameters, float32, 0." in str(done)
    assert str(done).endswith(f"MB, from {run.checkpoint}")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_folder_is_laid_out_as_the_base_model_is(run: Run, tmp_path: Path) -> None:
    export(str(run.checkpoint), str(tmp_path / "out"))
    exported, base = weights(tmp_path / "out"), weights(Path(run.base_model))
    assert {name: t.shape for name, t in exported.items()} == {name: t.shape for name, t in base.items()}
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "out" / name).read_text()) == json.loads(Path(run.base_model, name).read_text())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.get_vocab() == character_tokenizer().get_vocab()
    assert tokenizer.chat_template == character_tokenizer().chat_template


def test_the_end_of_a_run_writes_the_same_files(run: Run, tmp_path: Path) -> None:
    save_hugging_face(run.policy, tmp_path / "model")
    (tmp_path / "model" / "left").touch()
    save_hugging_face(run.policy, tmp_path / "model")  # an earlier end of the run is replaced
    export(str(run.checkpoint), str(tmp_path / "out"))
    assert contents(tmp_path / "model") == contents(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]


def test_an_exported_folder_is_exported_again(tied: Run, tmp_path: Path) -> None:
    export(str(tied.checkpoint), str(tmp_path / "one"))
    export(str(tmp_path / "one"), str(tmp_path / "two"))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_training_is_not_lost_for_its_tokenizer(
    qwen2_folder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(qwen2_folder, tmp_path / "base")
    policy = fit(float32(str(tmp_path / "base")))
    (tmp_path / "base" / "tokenizer.json").unlink()
    save_hugging_face(policy, tmp_path / "model")
    assert "model is saved without a tokenizer" in caplog.text
    saved = weights(tmp_path / "model")
    assert all(torch.equal(tensor, saved[name]) for name, tensor in policy.weights())


@pytest.mark.distributed
@pytest.mark.slow
def test_a_checkpoint_of_two_ranks(qwen3_moe_folder: str, tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_ranks.py")
    environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), qwen3_moe_folder, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "checkpoint").glob("*.distcp"))) == 2
    export(str(tmp_path / "checkpoint"), str(tmp_path / "out"))
    assert contents(tmp_path / "model") == contents(tmp_path / "out")


def test_of_a_run_the_newest_checkpoint_else_its_model(
    tied: Run, qwen2_folder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(qwen2_folder, tmp_path / "run" / "model")
    (tmp_path / "run" / "config.yaml").touch()
    assert export(str(tmp_path / "run"), str(tmp_path / "a")).source == tmp_path / "run" / "model"
    checkpoints = tmp_path / "run" / "checkpoints"
    shutil.copytree(tied.checkpoint, checkpoints / "newest")
    fit(float32(qwen2_folder), steps=1).trainer.save_checkpoint(checkpoints / "written-later")
    shutil.copytree(tied.checkpoint, checkpoints / "unfinished")
    (checkpoints / "unfinished" / "meta.pt").unlink()
    with caplog.at_level(logging.INFO):
        assert export(str(tmp_path / "run"), str(tmp_path / "b")).source == checkpoints / "newest"
    assert tied.gap(tmp_path / "b") < 1e-6
    assert "unfinished is left out" in caplog.text
    assert "last policy" not in caplog.text, "nothing says that the model is of a later step"


def test_a_newer_model_than_the_newest_checkpoint_is_mentioned(
    tied: Run, qwen2_folder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, hint = tmp_path / "run", f"the run's last policy is in checkpoint={tmp_path / 'run' / 'model'}"
    shutil.copytree(qwen2_folder, run / "model")
    shutil.copytree(tied.checkpoint, run / "checkpoints" / "step-2")
    for name, last, differs in (("a", 2, False), ("b", 3, True)):
        mark_finished(run, last)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            assert export(str(run), str(tmp_path / name)).source == run / "checkpoints" / "step-2"
        assert (hint in caplog.text) == differs


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_files_may_be_read_by_whom_the_umask_says(tied: Run, tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        folder = export(str(tied.checkpoint), str(tmp_path / "out")).folder
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666 & ~mask}
    assert folder.stat().st_mode & 0o777 == 0o777 & ~mask


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtype_of_weights_and_config(run: Run, tmp_path: Path, dtype: str) -> None:
    assert export(str(run.checkpoint), str(tmp_path / "out"), dtype=dtype).dtype == getattr(torch, dtype)
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {getattr(torch, dtype)}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype
    own = {name: tensor.to(getattr(torch, dtype)) for name, tensor in run.policy.weights()}
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert all(torch.equal(parameter, own[name]) for name, parameter in model.named_parameters())


def test_a_hugging_face_folder_in_another_dtype_and_as_it_is(qwen2_folder: str, tmp_path: Path) -> None:
    export(qwen2_folder, str(tmp_path / "half"), dtype="bfloat16")
    assert export(str(tmp_path / "half"), str(tmp_path / "again")).dtype == torch.bfloat16
    before, after = weights(Path(qwen2_folder)), weights(tmp_path / "again")
    assert all(torch.equal(tensor.bfloat16(), after[name]) for name, tensor in before.items())


def test_float64_stays_float64(qwen2_folder: str, tmp_path: Path) -> None:
    policy = fit(module(qwen2_folder))
    policy.trainer.save_checkpoint(tmp_path / "checkpoint")
    export(str(tmp_path / "checkpoint"), str(tmp_path / "out"))
    exported = weights(tmp_path / "out")
    assert all(torch.equal(tensor, exported[name]) for name, tensor in policy.weights())


def edited(folder: str, into: Path, name: str, **entries: object) -> str:
    """A copy of a model's folder with other entries in one of its JSON files; None takes one out."""
    shutil.copytree(folder, into)
    content = json.loads((into / name).read_text()) | entries
    (into / name).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return str(into)


def test_the_generation_config_is_the_base_models_as_it_came(tied: Run, tmp_path: Path) -> None:
    entries = {"temperature": 0.6, "do_sample": False, "eos_token_id": [1, 2], "pad_token_id": None}
    base = edited(tied.base_model, tmp_path / "base", "generation_config.json", **entries)
    export(str(tied.checkpoint), str(tmp_path / "out"), base_model=base)
    exported = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (exported.temperature, exported.do_sample, exported.eos_token_id) == (0.6, False, [1, 2])
    assert exported.pad_token_id == 0, "the tokenizer's"


def test_a_model_that_names_no_end_gets_the_tokenizers(tied: Run, tmp_path: Path) -> None:
    base = edited(tied.base_model, tmp_path / "base", "config.json", eos_token_id=None, pad_token_id=None)
    (tmp_path / "base" / "generation_config.json").unlink()
    export(str(tied.checkpoint), str(tmp_path / "out"), base_model=base)
    exported = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (exported.eos_token_id, exported.pad_token_id) == (1, 0)


def test_a_base_model_that_moved_away(qwen2_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(qwen2_folder, "base")
    fit(float32("base")).trainer.save_checkpoint("checkpoint")
    monkeypatch.chdir("/")
    export(str(tmp_path / "checkpoint"), str(tmp_path / "before"))  # a relative path, seen from elsewhere
    Path(tmp_path, "base").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"base is not there.*by base_model=PATH"):
        export(str(tmp_path / "checkpoint"), str(tmp_path / "after"))
    export(str(tmp_path / "checkpoint"), str(tmp_path / "after"), base_model=str(tmp_path / "moved"))
    assert contents(tmp_path / "before") == contents(tmp_path / "after")


def refused(tmp_path: Path, said: str, *arguments: str, **named: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=said):
        export(*arguments, **named)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is left behind"


def test_what_is_no_checkpoint_is_named(tied: Run, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    refused(tmp_path, r"/nowhere does not exist: give a run's folder", "/nowhere", out)
    (tmp_path / "notes").mkdir()
    refused(tmp_path, "it holds nothing: give", str(tmp_path / "notes"), out)
    (tmp_path / "notes" / "todo.txt").write_text("train more")
    refused(tmp_path, r"it holds todo\.txt: give", str(tmp_path / "notes"), out)
    (tmp_path / "step-1.ckpt").touch()
    refused(tmp_path, r"step-1\.ckpt is one file, .* are folders: give", str(tmp_path / "step-1.ckpt"), out)


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("surprise",)


def test_a_checkpoint_that_would_run_code_is_refused(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"pytorch-lightning_version": "2.6.6", "base_model": Surprise()}, damaged / "meta.pt")
    refused(tmp_path, r"meta\.pt holds more than .*mkdir", str(damaged), "out")


@pytest.fixture
def damaged(tied: Run, tmp_path: Path) -> Path:
    shutil.copytree(tied.checkpoint, tmp_path / "damaged")
    return tmp_path / "damaged"


def test_damaged_files(tied: Run, damaged: Path, tmp_path: Path) -> None:
    (shard,) = damaged.glob("*.distcp")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:5000])
    refused(tmp_path, DAMAGED, str(damaged), str(tmp_path / "out"))
    shard.unlink()
    refused(tmp_path, DAMAGED, str(damaged), str(tmp_path / "out"))
    (damaged / ".metadata").write_bytes(b"")
    refused(tmp_path, DAMAGED, str(damaged), str(tmp_path / "out"))
    (damaged / ".metadata").unlink()
    refused(tmp_path, "is no checkpoint, it holds meta.pt", str(damaged), str(tmp_path / "out"))
    model = damaged / "model"
    save_hugging_face(tied.policy, model)
    (model / "model.safetensors").write_bytes(b"")
    refused(tmp_path, "holds no model that can be loaded", str(model), str(tmp_path / "out"))


def test_weights_that_are_not_the_base_models(tied: Run, qwen2_folder: str, tmp_path: Path) -> None:
    def against(said: str, name: str, **entries: object) -> None:
        base = edited(qwen2_folder, tmp_path / name, "config.json", **entries)
        refused(tmp_path, said, str(tied.checkpoint), str(tmp_path / "out"), base_model=base)

    against(r"embed_tokens\.weight is \[260, 64\] and not \[270, 64\]", "wider", vocab_size=270)
    against(r"12 missing: .*layers\.2\..*, \.\.\.\)", "deeper", num_hidden_layers=3, layer_types=None)
    against(r"12 unexpected: .*layers\.1\..*base_model=PATH", "shallower", num_hidden_layers=1, layer_types=None)


def saved_with(run: Run, folder: Path, renamed: dict[str, str | None]) -> str:
    """The policy of a run under other names, and without those that become None."""
    names = {name: renamed.get(name, name) for name, _ in run.policy.weights()}
    state = {f"model.{names[name]}": tensor for name, tensor in run.policy.weights() if names[name]}
    storage.save({"state_dict": state}, folder, asynchronous=False, group=None)
    storage.complete(folder, torch.load(run.checkpoint / "meta.pt"), manifest=None)
    return str(folder)


def test_the_head_may_be_missing_where_it_is_tied_and_only_there(tied: Run, experts: Run, tmp_path: Path) -> None:
    export(saved_with(tied, tmp_path / "tied", {}), str(tmp_path / "a"))
    headed = saved_with(tied, tmp_path / "head", {"model.embed_tokens.weight": "lm_head.weight"})
    export(headed, str(tmp_path / "b"))
    assert tied.gap(tmp_path / "a") == tied.gap(tmp_path / "b") < 1e-6
    headless = saved_with(experts, tmp_path / "untied", {"lm_head.weight": None})
    refused(tmp_path, r"\(1 missing: lm_head\.weight\)", headless, str(tmp_path / "out"))


def test_an_untied_head_is_not_dropped_for_a_tied_config(experts: Run, tmp_path: Path) -> None:
    base = edited(experts.base_model, tmp_path / "base", "config.json", tie_word_embeddings=True)
    said = r"ties model\.embed_tokens\.weight and lm_head\.weight, which differ"
    refused(tmp_path, said, str(experts.checkpoint), str(tmp_path / "out"), base_model=base)


def test_a_hugging_face_folder_must_be_complete(tied: Run, tmp_path: Path) -> None:
    deeper = edited(tied.base_model, tmp_path / "deeper", "config.json", num_hidden_layers=3, layer_types=None)
    refused(tmp_path, r"missing: model\.layers\.2\.", deeper, str(tmp_path / "out"))
    shallower = edited(tied.base_model, tmp_path / "shallower", "config.json", num_hidden_layers=1, layer_types=None)
    refused(tmp_path, r"unexpected: model\.layers\.1\.", shallower, str(tmp_path / "out"))
    (tmp_path / "bare").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(Path(tied.base_model, name), tmp_path / "bare")
    refused(tmp_path, "bare has no tokenizer.*base_model=PATH", str(tmp_path / "bare"), str(tmp_path / "out"))
    export(str(tmp_path / "bare"), str(tmp_path / "out"), base_model=tied.base_model)


def test_a_checkpoint_that_does_not_name_its_base_model(tied: Run, damaged: Path, tmp_path: Path) -> None:
    meta = torch.load(damaged / "meta.pt")
    torch.save({key: value for key, value in meta.items() if key != "base_model"}, damaged / "meta.pt")
    refused(tmp_path, "does not say.*base_model=PATH", str(damaged), str(tmp_path / "out"))
    export(str(damaged), str(tmp_path / "out"), base_model=tied.base_model)
    assert tied.gap(tmp_path / "out") < 1e-6


def test_weights_that_no_model_should_have(tied: Run, qwen2_folder: str, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(qwen2_folder)
    with torch.no_grad():
        model.model.norm.weight[3] = 1e5
    shutil.copytree(qwen2_folder, tmp_path / "large")
    model.save_pretrained(tmp_path / "large")
    said = r"infinite.*\(model\.norm\.weight\): choose dtype=bfloat16"
    refused(tmp_path, said, str(tmp_path / "large"), str(tmp_path / "out"), dtype="float16")
    export(str(tmp_path / "large"), str(tmp_path / "out"), dtype="bfloat16")


def test_a_folder_takes_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    def fill(interrupted: bool) -> None:
        with whole_folder(tmp_path / "out") as unfinished:
            (unfinished / "config.json").touch()
            assert unfinished.parent == tmp_path
            assert not (tmp_path / "out").exists()
            if interrupted:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(interrupted=True)
    assert not list(tmp_path.iterdir())
    fill(interrupted=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "config.json"]


def test_nothing_is_overwritten(tied: Run, tmp_path: Path) -> None:
    checkpoint = str(tied.checkpoint)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("kept")
    refused(tmp_path, "full exists, and nothing is overwritten", checkpoint, str(tmp_path / "full"))
    refused(tmp_path, "notes exists, and nothing is overwritten", checkpoint, str(tmp_path / "full" / "notes"))
    refused(tmp_path, "is the checkpoint itself", checkpoint, f"{tied.checkpoint.parent}/./step-2")
    refused(
        tmp_path, r"cannot be written \(File exists: .*notes\).*output=FOLDER", checkpoint, f"{tmp_path}/full/notes/out"
    )
    refused(tmp_path, "where a disk is mounted", checkpoint, "/proc")
    refused(tmp_path, "dtype=int8 must be one of bfloat16", checkpoint, str(tmp_path / "out"), dtype="int8")
    (tmp_path / "empty").mkdir()
    export(checkpoint, str(tmp_path / "empty"))
    assert tied.gap(tmp_path / "empty") < 1e-6


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
def test_vllm_samples_from_what_was_trained(tied: Run, tmp_path: Path) -> None:
    from gmpo.rollout.vllm import VLLMEngine

    export(str(tied.checkpoint), str(tmp_path / "out"))
    engine = VLLMEngine(
        str(tmp_path / "out"),
        "float32",
        256,
        64,
        kv_cache_gib=1,
        gpu_memory_utilization=0.3,
        max_num_batched_tokens=512,
    )
    engine.start()
    prompts = [make_prompt(f"{i}+{i}", i) for i in range(8)]
    sampling = Sampling(max_tokens=40)
    sampled = generate(engine, prompts, sampling, 4)
    engine.close()
    responses = [Group(p, [Rollout(r, 0.0) for r in several]) for p, several in zip(prompts, sampled, strict=True)]
    trainers = trainers_log_probs(tied.policy, responses)
    engines = [torch.tensor(rollout.response.log_probs) for _, rollout in sequences_of(responses)]
    assert max(float((a - b).abs().max()) for a, b in zip(trainers, engines, strict=True)) < 1e-5
    ended = [response for several in sampled for response in several if not response.truncated]
    assert ended
    assert all(response.token_ids[-1] == 1 for response in ended)
