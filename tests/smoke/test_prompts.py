"""From the keys of data to the prompts that a run records, by the same path as `python train.py`."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from transformers import AutoTokenizer

from gmpo.config import check
from gmpo.training import prepare

pytestmark = pytest.mark.slow  # all together
SMALL = [
    "experiment=quickstart",
    *("run.name=run", "run.steps=1", "run.validate_every=1", "batch.prompts=4", "batch.mini_batch_prompts=4"),
    *("batch.group_size=2", "sampling.max_tokens=8", "data.max_prompt_tokens=100", "rollout=transformers"),
    *("cluster.threads=1", "model=local"),
]
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt and not enable_thinking %}[no thoughts]{% endif %}"
)


def prompts(folder: Path, model: str, *overrides: str) -> dict[str, set[str]]:
    """The prompts of training and of validation, as the run's records have them."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", [*SMALL, f"run.root={folder}", f"model.path={model}", *overrides])
    check(cfg)
    assert prepare(cfg).run() is None
    files = {name: folder / "run" / "rollouts" / f"{name}.jsonl" for name in ("train", "validation")}
    return {name: {json.loads(line)["prompt"] for line in f.read_text().splitlines()} for name, f in files.items()}


def with_tokenizer(model: str, folder: Path, **special: str) -> str:
    """The model with another chat template, and with special tokens of its own."""
    shutil.copytree(model, folder)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = TEMPLATE
    tokenizer.add_special_tokens(special)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_chats_in_verl_s_format_validated_on_a_file(tmp_path: Path, qwen2_folder: str) -> None:
    chat = [{"role": "system", "content": "Add."}, {"role": "user", "content": "1+1"}]
    turns = [*chat, {"role": "assistant", "content": "2"}, {"role": "user", "content": "1+2"}]
    rows = [{"prompt": prompt, "reward_model": {"ground_truth": "3"}} for prompt in (chat, turns)]
    rows.append({"prompt": chat[1:], "reward_model": {"ground_truth": "proof"}})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.csv").write_text("q,gold\n5+5,10\n")
    found = prompts(
        tmp_path,
        with_tokenizer(qwen2_folder, tmp_path / "model"),
        *("data=verl", f"data.path={tmp_path}/train.jsonl", 'data.suffix=" Box \\boxed{it}."'),
        "data.chat_template_arguments={enable_thinking: false}",
        "data.leave_out={reward_model.ground_truth: [proof]}",
        *("benchmark=files", f"benchmark.files.path={tmp_path}/mine.csv"),
        *("benchmark.files.question=q", "benchmark.files.answer=gold"),
    )
    end = " Box \\boxed{it}.[no thoughts]"
    assert found == {
        "train": {f"[system]Add.[user]1+1{end}", f"[system]Add.[user]1+1[assistant]2[user]1+2{end}"},
        "validation": {f"[user]5+5{end}"},
    }


def test_a_pad_token_that_the_model_does_not_know_does_not_matter(tmp_path: Path, qwen2_folder: str) -> None:
    model = with_tokenizer(qwen2_folder, tmp_path / "model", pad_token="[PAD]")
    assert AutoTokenizer.from_pretrained(model).pad_token_id == 260
    assert prompts(tmp_path, model, "data.system=Add.")["train"]


def test_a_token_that_the_model_does_not_know_is_refused_before_training(tmp_path: Path, qwen2_folder: str) -> None:
    model = with_tokenizer(qwen2_folder, tmp_path / "model", cls_token="<new>")
    with pytest.raises(ValueError, match=r"the prompt holds the token '<new>' .*and the model has 260 tokens"):
        prompts(tmp_path, model, 'data.template="<new>{question}"')
    assert not (tmp_path / "run" / "metrics.csv").exists()
