"""One form of question in DAPO's recipes: data=dapo_math_17k and benchmark=aime24_dapo ask word for word the same."""

from pathlib import Path

import pytest
from conftest import ROOT
from datasets import Dataset
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from gmpo.config import check_recipe
from gmpo.data import MathDataModule
from gmpo.models.tiny import character_tokenizer

BEFORE = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n"
)
AFTER = '\n\nRemember to put your answer on its own line after "Answer:".'
TRAINING = [("What is 1+1?", "2"), ("What is 2+2?", "4"), ("What is 3+3?", "6"), ("What is 3+3?", "7")]
VALIDATION = [("How many primes are below 10?", "4"), ("Find $2^5$.", "32")]
EXPERIMENTS = ["dapo_qwen2_5_7b", "dapo_qwen3_30b"]


def write(path: Path, problems: list[tuple[str, str]], repeats: int) -> Path:
    """Rows in the columns of DAPO-Math-17k and of AIME-2024, all of them repeated."""
    rows = [
        {
            "data_source": "math_dapo",
            "prompt": [{"role": "user", "content": f"{BEFORE}{text}{AFTER}"}],
            "ability": "MATH",
            "reward_model": {"ground_truth": answer, "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": str(index)},
        }
        for index, (text, answer) in enumerate(problems * repeats)
    ]
    Dataset.from_list(rows).to_parquet(path)
    return path


def datamodule(folder: Path, experiment: str, *overrides: str) -> MathDataModule:
    """Set up from the recipe's own config, with the two files instead of the hub's."""
    files = [
        f"data.path={write(folder / 'dapo.parquet', TRAINING, 3)}",
        f"benchmark.aime24_dapo.path={write(folder / 'aime.parquet', VALIDATION, 32)}",
    ]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", [f"experiment={experiment}", "run.name=test", *files, *overrides])
    check_recipe(cfg)
    made = instantiate(cfg.datamodule, tokenizer=character_tokenizer())
    assert isinstance(made, MathDataModule)
    made.setup()
    return made


def prompts(made: MathDataModule) -> tuple[dict[str, str], dict[str, str]]:
    """Of training and of validation: prompt -> answer."""
    training = {prompt.text: prompt.answer for prompt in made.draw(2)}
    return training, {prompt.text: prompt.answer for prompt in made.validation_prompts}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_training_and_validation_ask_in_the_same_wrapping(tmp_path: Path, experiment: str) -> None:
    training, validation = prompts(datamodule(tmp_path, experiment))
    markup = "<|user|>{}<|assistant|>"
    for found, problems in ((training, TRAINING[:2]), (validation, VALIDATION)):
        assert found == {markup.format(f"{BEFORE}{text}{AFTER}"): answer for text, answer in problems}


def test_another_instruction_is_brought_on_both_sides(tmp_path: Path) -> None:
    made = datamodule(tmp_path, EXPERIMENTS[0], "data.instruction=replace", "data.template='{question} Box it.'")
    for found, problems in zip(prompts(made), (TRAINING[:2], VALIDATION), strict=True):
        assert found == {f"{text} Box it.": answer for text, answer in problems}


def test_repeats_and_problems_with_two_answers_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="gmpo"):
        made = datamodule(tmp_path, EXPERIMENTS[0])
    assert (len(made.validation_prompts), len({prompt.question for prompt in made.validation_prompts})) == (2, 2)
    said = [message for message in caplog.messages if "answer" in message or "repeat" in message]
    assert said[0].startswith(
        "dapo_math_17k, train: 1 of 3 problems have more than one answer and are dropped with all"
    )
    assert said[1:] == [
        "dapo_math_17k, train: 4 of 12 rows repeat a problem and are dropped",
        "aime24_dapo, validation: 62 of 64 rows repeat a problem and are dropped",
    ]
