import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gmpo.models.tiny import ASSISTANT, END, USER, character_tokenizer, make_tiny_model

QUICK = {
    "kinds": ["1+1"],
    "layers": 1,
    "hidden_size": 64,
    "check_below_loss": 10.0,
    "target": 0.02,
    "max_steps": 300,
    "threads": 1,
}


def test_the_same_settings_give_the_same_model_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    path = make_tiny_model(str(one), seed=0, **QUICK)
    again = make_tiny_model(str(two), seed=0, **QUICK)
    other = make_tiny_model(str(one), seed=1, **QUICK)
    weights = [AutoModelForCausalLM.from_pretrained(p).state_dict() for p in (path, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    stamps = {file: file.stat().st_mtime_ns for file in one.rglob("*")}
    assert make_tiny_model(str(one), seed=0, **QUICK) == path
    assert {file: file.stat().st_mtime_ns for file in one.rglob("*")} == stamps
    assert path != other


def test_a_goal_out_of_reach_is_said(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("never")
    with pytest.raises(RuntimeError, match=r"did not reach 1\.1 in 20 steps"):
        make_tiny_model(str(folder), seed=0, **QUICK | {"target": 1.1, "max_steps": 20})
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("text", ["12+34 = 46\n", "it's  “quoted”, é and 日本", "a\tb"])
def test_the_saved_tokenizer_gives_text_back(text: str, qwen2_folder: str) -> None:
    loaded = AutoTokenizer.from_pretrained(qwen2_folder)  # by the model's type, as every engine loads it
    ids = loaded(f"{USER}{text}{ASSISTANT}")["input_ids"]
    assert ids == character_tokenizer()(f"{USER}{text}{ASSISTANT}")["input_ids"]
    assert len(ids) == len(text.encode()) + 2
    assert loaded.decode(ids, skip_special_tokens=True) == text
    assert loaded.eos_token == END
