"""What Qwen3-8B is asked in its recipe: the question, the wish for a box, and no thoughts unless they are asked for."""

import json
from pathlib import Path

from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from gmpo.config import check_recipe
from gmpo.models.tiny import character_tokenizer

TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}[assistant]"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)
SUFFIX = "\n\nPlease reason step by step, and put your final answer within \\boxed{}."


def prompts(folder: Path, *overrides: str) -> tuple[set[str], list[str]]:
    """Of training and of validation, by the recipe's own config."""
    for name, row in (
        ("gsm8k", {"question": "1+1?", "answer": "It is #### 2"}),
        ("math", {"problem": "2+2?", "solution": "It is \\boxed{4}"}),
    ):
        (folder / name).mkdir(exist_ok=True)
        for split in ("train", "test"):
            (folder / name / f"{split}.jsonl").write_text(json.dumps({k: f"{v} {split}" for k, v in row.items()}))
    files = [f"data.{name}.path={folder}/{name}/train.jsonl" for name in ("gsm8k", "math")]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", ["experiment=qwen3_8b_math", "run.name=test", *files, *overrides])
    check_recipe(cfg)
    tokenizer = character_tokenizer()
    tokenizer.chat_template = TEMPLATE
    made = instantiate(cfg.datamodule, tokenizer=tokenizer)
    made.setup()
    return {prompt.text for prompt in made.draw(2)}, [prompt.text for prompt in made.validation_prompts]


def test_no_thoughts_and_a_box_in_training_and_validation(tmp_path: Path) -> None:
    training, validation = prompts(tmp_path)
    assert training == {f"[user]{text} train{SUFFIX}[assistant]<think></think>" for text in ("1+1?", "2+2?")}
    assert validation == [f"[user]{text} test{SUFFIX}[assistant]<think></think>" for text in ("1+1?", "2+2?")]


def test_thoughts_where_they_are_asked_for(tmp_path: Path) -> None:
    wish = "data.chat_template_arguments.enable_thinking=true"
    training, validation = prompts(tmp_path, wish, "sampling.max_tokens=16384")
    assert all(text.endswith(f"{SUFFIX}[assistant]") for text in [*training, *validation])
