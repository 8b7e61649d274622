import json
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase

from gmpo.data import ArithmeticDataset, MathDataModule, MixedDataset, ProblemDataset, Wrapping
from gmpo.data.selection import Question
from gmpo.data.stream import PromptStream
from gmpo.models.tiny import ASSISTANT, END, USER, character_tokenizer
from gmpo.types import PromptBatch

TEMPLATED = {
    "chat": f"{USER}1+1{ASSISTANT}",
    "none": "1+1",
    "question_answer": "Question: 1+1\nAnswer:",
    "{question} = \\boxed{": "1+1 = \\boxed{",
}


@dataclass(frozen=True)
class TrainOnly:
    """One question, and no validation split."""

    name: str = "train_only"

    def questions(self, split: str) -> list[Question]:
        if split == "validation":
            raise ValueError("train_only has no validation problems")
        return [Question("1+1", "2", self.name)]


@dataclass(frozen=True)
class Listed:
    """Ten questions of 1 to 10 characters, others for validation."""

    name: str = "listed"

    def questions(self, split: str) -> list[Question]:
        letter = {"train": "x", "validation": "y"}[split]
        return [Question(letter * length, str(length), self.name) for length in range(1, 11)]


def datamodule(**changes: object) -> MathDataModule:
    settings = {
        "dataset": Listed(),
        "tokenizer": character_tokenizer(),
        "template": "chat",
        "max_prompt_tokens": 32,
        "long_prompts": "drop",
        "prompts_per_step": 4,
        "steps": 5,
        "seed": 0,
    }
    return MathDataModule(**(settings | changes))  # type: ignore[arg-type]


def ready(**changes: object) -> MathDataModule:
    data = datamodule(**changes)
    data.setup()
    return data


def drawn(data: MathDataModule) -> list[int]:
    return [prompt.index for batch in data.train_dataloader() for prompt in batch.prompts]


def held_out(data: MathDataModule) -> list[int]:
    return [prompt.index for batch in data.val_dataloader() for prompt in batch.prompts]


def with_first_token(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """One that puts a special token before every text, as Llama's does."""
    first = (END, tokenizer.eos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{END} $A", special_tokens=[first])
    return tokenizer


def test_as_many_batches_as_steps() -> None:
    loader = ready().train_dataloader()
    batches = list(loader)
    assert len(loader) == len(batches) == 5
    assert all(isinstance(batch, PromptBatch) and len(batch.prompts) == 4 for batch in batches)
    assert not any(batch.groups for batch in batches)


def test_prompts_are_those_of_the_source() -> None:
    dataset = ArithmeticDataset(kinds=["2+2", "2*1"], train_size=40, validation_size=10, seed=1)
    data = ready(dataset=dataset, prompts_per_step=40, steps=1)
    (batch,) = data.train_dataloader()
    expected = dataset.questions("train")
    assert {p.index for p in batch.prompts} == set(range(40))
    for prompt in batch.prompts:
        assert Question(prompt.question, prompt.answer, "arithmetic") == expected[prompt.index]
        assert prompt.benchmark_name == "arithmetic"
    (batch,) = data.val_dataloader()
    assert [Question(p.question, p.answer, p.benchmark_name) for p in batch.prompts] == dataset.questions("validation")


def test_seed_decides_the_order() -> None:
    assert drawn(ready(seed=1)) == drawn(ready(seed=1))
    assert drawn(ready(seed=1)) != drawn(ready(seed=2))


def test_global_random_state_does_not_decide_the_order() -> None:
    torch.manual_seed(1)
    first = drawn(ready())
    torch.manual_seed(2)
    assert drawn(ready()) == first


def test_epoch_goes_through_every_prompt_once() -> None:
    order = drawn(ready(prompts_per_step=4, steps=5))  # two epochs of ten, the third batch in both
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]
    assert order[:10] != list(range(10))


def test_continued_stream_draws_what_the_first_would_have_drawn() -> None:
    prompts = ready().validation_prompts
    first, second = PromptStream(prompts, 0), PromptStream(prompts, 0)
    first.draw(7)
    second.position = first.position
    assert second.draw(9) == first.draw(9)


def test_setup_twice_keeps_the_place() -> None:
    data = ready()
    order = drawn(data)
    data.setup("fit")
    assert order + drawn(data) == drawn(ready(steps=10))


def test_long_prompts_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="gmpo"):
        data = ready(max_prompt_tokens=8)  # two of them the template's
    assert sorted(set(drawn(data))) == held_out(data) == list(range(6))
    fact = "4 of 10 prompts are longer than data.max_prompt_tokens=8 (the longest has 12) and are dropped"
    assert caplog.messages == [f"listed, {split}: {fact}" for split in ("train", "validation")]


def test_nothing_is_logged_where_nothing_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="gmpo"):
        data = ready(max_prompt_tokens=12)
    assert held_out(data) == list(range(10))
    assert not caplog.messages


def test_long_prompts_are_an_error_by_config() -> None:
    with pytest.raises(ValueError, match=r"4 of 10 .*max_prompt_tokens=8 .*data\.long_prompts=drop"):
        ready(max_prompt_tokens=8, long_prompts="error")
    assert held_out(ready(max_prompt_tokens=12, long_prompts="error")) == list(range(10))


def test_long_prompts_are_cut_off_on_the_left(caplog: pytest.LogCaptureFixture) -> None:
    whole = ready(max_prompt_tokens=12).validation_prompts
    with caplog.at_level(logging.INFO, logger="gmpo"):
        cut = ready(max_prompt_tokens=8, long_prompts="truncate").validation_prompts
    assert [prompt.token_ids for prompt in cut] == [prompt.token_ids[-8:] for prompt in whole]
    assert [prompt.text == before.text for prompt, before in zip(cut, whole, strict=True)].count(False) == 4
    assert all(before.text.endswith(prompt.text) for prompt, before in zip(cut, whole, strict=True))
    assert "4 of 10 prompts are longer than data.max_prompt_tokens=8 " in caplog.messages[0]
    assert caplog.messages[0].endswith("are cut off on the left")


@pytest.mark.parametrize("long_prompts", ["drop", "error"])
def test_all_too_long_is_an_error(long_prompts: str) -> None:
    with pytest.raises(ValueError, match=r"10 of 10 .*max_prompt_tokens=2 .*raise data\.max_prompt_tokens"):
        ready(max_prompt_tokens=2, long_prompts=long_prompts)


def test_unknown_long_prompts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.long_prompts=cut must be drop or error or truncate"):
        datamodule(long_prompts="cut")


@pytest.mark.parametrize(("template", "text"), TEMPLATED.items())
def test_templates(template: str, text: str) -> None:
    tokenizer = character_tokenizer()
    dataset = ArithmeticDataset(kinds=["1+1"], train_size=1, validation_size=30)
    for prompt in ready(template=template, dataset=dataset, tokenizer=tokenizer).validation_prompts:
        assert prompt.text == text.replace("1+1", prompt.question)
        assert tokenizer.decode(prompt.token_ids) == prompt.text
    special = [tokenizer.convert_tokens_to_ids(token) for token in (USER, ASSISTANT)]
    chat = template == "chat"
    assert [prompt.token_ids[0], prompt.token_ids[-1]] == special if chat else not {*special} & {*prompt.token_ids}


@pytest.mark.parametrize("template", TEMPLATED)
def test_first_token_is_added_unless_the_chat_template_writes_it(template: str) -> None:
    tokenizer = with_first_token(character_tokenizer())
    prompt = ready(template=template, tokenizer=tokenizer).validation_prompts[0]
    assert prompt.token_ids.count(tokenizer.eos_token_id) == (template != "chat")


def test_unknown_template_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.template=poem .*chat, none, question_answer"):
        datamodule(template="poem")


def test_tokenizer_without_chat_template_is_refused() -> None:
    tokenizer = character_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match=r"data\.template=chat.*no chat template.*none, question_answer"):
        datamodule(tokenizer=tokenizer)
    assert ready(tokenizer=tokenizer, template="none").validation_prompts[0].text == "y"


@pytest.mark.parametrize(("limit", "kept"), [(None, 10), (1, 1), (3, 3), (99, 10)])
def test_validation_limit_keeps_the_first(limit: int | None, kept: int) -> None:
    data = ready(validation_limit=limit)
    assert held_out(data) == list(range(kept))
    assert {*drawn(data)} == {*range(10)}


def test_validation_batches_hold_every_prompt_once() -> None:
    loader = ready(validation_batch=4).val_dataloader()
    batches = [[p.index for p in batch.prompts] for batch in loader]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(loader) == 3


def benchmark_names(data: MathDataModule) -> list[tuple[str, int]]:
    return [(p.benchmark_name, p.index) for batch in data.val_dataloader() for p in batch.prompts]


BENCHMARKS = {"b": Listed("b"), "a": Listed("a")}


@pytest.mark.parametrize(("limit", "kept"), [(None, 10), (3, 3)])
def test_validation_is_on_the_benchmarks(limit: int | None, kept: int) -> None:
    """Instead of on the dataset, which need not have a validation split."""
    data = ready(dataset=TrainOnly(), benchmarks=BENCHMARKS, validation_limit=limit)
    assert benchmark_names(data) == [(name, index) for name in "ba" for index in range(kept)]
    assert len({*benchmark_names(data)}) == 2 * kept
    assert drawn(data) == [0] * 20


@pytest.mark.parametrize("benchmarks", [None, {}])
def test_without_benchmarks_validation_is_on_the_source(benchmarks: dict[str, Listed] | None) -> None:
    assert benchmark_names(ready(benchmarks=benchmarks)) == [("listed", index) for index in range(10)]
    with pytest.raises(ValueError, match="train_only has no validation problems"):
        ready(dataset=TrainOnly(), benchmarks=benchmarks)


@pytest.mark.parametrize("benchmarks", [None, {"only": TrainOnly()}])
def test_no_validation_split_is_read_where_nothing_is_validated(benchmarks: dict[str, TrainOnly] | None) -> None:
    data = ready(dataset=TrainOnly(), benchmarks=benchmarks, validate=False)
    assert benchmark_names(data) == []
    assert drawn(data) == [0] * 20


def test_benchmarks_do_not_change_the_training_order() -> None:
    assert drawn(ready()) == drawn(ready(benchmarks=BENCHMARKS)) == drawn(ready(validate=False))


def test_long_prompts_of_benchmarks_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="gmpo"):
        ready(dataset=TrainOnly(), benchmarks=BENCHMARKS, max_prompt_tokens=8)
    assert [message.split(" prompts")[0] for message in caplog.messages] == [
        "b, validation: 4 of 10",
        "a, validation: 4 of 10",
    ]


def test_benchmarks_have_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="benchmark holds several data sets of the name listed"):
        datamodule(benchmarks={"one": Listed(), "two": Listed()})


def test_parts_of_a_mixture_are_limited_and_named_apart() -> None:
    mixed = MixedDataset({"b": Listed("b"), "a": Listed("a")}, "mixed")
    data = ready(dataset=mixed, validation_limit=2, steps=10)
    assert benchmark_names(data) == [("b", 0), ("b", 1), ("a", 2), ("a", 3)]
    batches = [p for batch in data.train_dataloader() for p in batch.prompts]
    assert {(p.benchmark_name, p.index) for p in batches} == {
        ("b" if index < 10 else "a", index) for index in range(20)
    }


@dataclass(frozen=True)
class Overlapping:
    """Ten problems, some of them in both splits."""

    train: str
    validation: str
    name: str = "both"

    def questions(self, split: str) -> list[Question]:
        letters = self.train if split == "train" else self.validation
        return [Question(f" {letter}\n" * (split == "train") or letter, "1", self.name) for letter in letters]


@pytest.mark.parametrize(
    ("train", "validation", "said"),
    [
        ("abc", "xyz", []),
        ("abc", "xbc", ["both, validation: 2 of 3 problems are training problems as well (the first: 'b')"]),
        ("abc", "abc", ["both, validation: 3 of 3 problems are training problems as well (the first: 'a')"]),
    ],
)
def test_problems_of_both_splits_are_counted(
    train: str, validation: str, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    ready(dataset=Overlapping(train, validation))
    assert caplog.messages == said
    caplog.clear()
    ready(dataset=Overlapping(train, "xyz"), benchmarks={"bench": Overlapping("", validation, "bench")})
    assert caplog.messages == [message.replace("both", "bench") for message in said]


def test_only_what_is_validated_on_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    ready(dataset=Overlapping("abc", "xabc"), validation_limit=2)
    assert caplog.messages == ["both, validation: 1 of 2 problems are training problems as well (the first: 'a')"]
    caplog.clear()
    ready(dataset=Overlapping("abc", "abc"), validate=False)
    assert not caplog.messages


def test_an_instruction_does_not_hide_a_problem_of_both_splits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, rows in (("train", ["Solve: 1+1", "Solve: 2+2"]), ("test", ["1+1", "3+3"])):
        lines = [json.dumps({"problem": row, "answer": "2"}) + "\n" for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    path = str(tmp_path / "train.jsonl")
    ready(dataset=ProblemDataset("mine", path=path, unwrap=Wrapping("Solve: ")))
    said = f"mine, validation: 1 of 2 problems are training problems as well (the first: {tmp_path}/test.jsonl, line 1)"
    assert caplog.messages == [said]


def test_problems_that_are_made_are_never_in_both_splits(caplog: pytest.LogCaptureFixture) -> None:
    ready(dataset=ArithmeticDataset(["1+1", "2-1"], train_size=200, validation_size=20))
    assert not [message for message in caplog.messages if "training problems" in message]
