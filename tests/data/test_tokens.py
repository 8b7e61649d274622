"""Where prompts begin and end, whatever a tokenizer adds to a text, and tokens that a model does not know."""

import logging
from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import LlamaTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from gmpo.data.prompts import PromptMaker
from gmpo.data.selection import Question
from gmpo.models.tiny import ASSISTANT, END, PAD, USER, character_tokenizer
from gmpo.models.tokenizer import padding_id
from gmpo.types import Prompt

WORDS = {"[UNK]": 0, "one": 1, "two": 2, "?": 3}
SPECIAL = {"[BOS]": 4, "[EOS]": 5, "[LANG]": 6}
LLAMA = {"<unk>": 0, "<s>": 1, "</s>": 2, "\u2581": 3, "a": 4, "+": 5, "b": 6}


def words(around: str) -> PreTrainedTokenizerFast:
    """One token a word, and special ones around every text, as a post-processor of tokenizer.json puts them."""
    backend = Tokenizer(models.WordLevel(WORDS, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens([*SPECIAL])
    backend.post_processor = TemplateProcessing(single=around, special_tokens=[*SPECIAL.items()])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="[BOS]", eos_token="[EOS]", unk_token="[UNK]", name_or_path="words"
    )


def llama(**adds: bool) -> LlamaTokenizer:
    return LlamaTokenizer(vocab=LLAMA, merges=[], **adds)


def that_ends(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """One that puts the end token behind every text."""
    last = (END, tokenizer.eos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[last])
    return tokenizer


def prompts(tokenizer: PreTrainedTokenizerBase, *texts: str, template: str = "none", **options: object) -> list[Prompt]:
    maker = PromptMaker(tokenizer, template, 64, "error", **options)  # type: ignore[arg-type]
    return maker.of([Question(text, "4", "mine") for text in texts], "mine, train")


def ids(tokenizer: PreTrainedTokenizerBase, text: str, template: str = "none") -> Sequence[int]:
    return prompts(tokenizer, text, template=template)[0].token_ids


@pytest.mark.parametrize("template", [f"{USER}{{question}}{ASSISTANT}", "none", "question_answer", "chat"])
def test_an_end_token_that_the_tokenizer_appends_is_left_out(template: str) -> None:
    """It would tell the model that nothing follows: the quickstart's solved 0.078 of problems instead of 0.406."""
    expected = prompts(character_tokenizer(), "1+1", template=template)
    assert prompts(that_ends(character_tokenizer()), "1+1", template=template) == expected


def test_what_is_left_out_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    maker = PromptMaker(words("[BOS] $A [EOS]"), "none", 64, "error")
    with caplog.at_level(logging.INFO, logger="gmpo"):
        for label in ("mine, train", "mine, validation"):
            maker.of([Question("one", "1", "mine"), Question("two", "2", "mine")], label)
    said = "the tokenizer words appends [EOS] to every text; prompts end without it, where data.template ends"
    assert caplog.messages == [said]


@pytest.mark.parametrize("around", ["$A", "[BOS] $A"])
def test_nothing_is_logged_where_nothing_is_appended(around: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="gmpo"):
        prompts(words(around), "one")
    assert not caplog.messages


@pytest.mark.parametrize(
    ("around", "template", "expected"),
    [
        ("$A", "none", [1, 3]),
        ("[BOS] $A", "none", [4, 1, 3]),
        ("$A [EOS]", "none", [1, 3]),
        ("[BOS] $A [EOS]", "none", [4, 1, 3]),
        ("[BOS] $A [LANG] [EOS]", "none", [4, 1, 3]),
        ("[BOS] [LANG] $A", "none", [4, 6, 1, 3]),
        ("[BOS] $A", "[BOS]{question}", [4, 1, 3]),  # a template that begins with it
        ("[BOS] $A [EOS]", "[BOS] two {question}", [4, 2, 1, 3]),
        ("[BOS] [LANG] $A", "[BOS][LANG]{question}", [4, 6, 1, 3]),
        ("[BOS] [LANG] $A", "[BOS]{question}", [4, 1, 3]),
        ("$A", "[BOS]{question}", [4, 1, 3]),  # a tokenizer that adds none
        ("$A [EOS]", "{question}[EOS]", [1, 3, 5]),  # the template's own end
        ("[EOS] $A [EOS]", "none", [5, 1, 3]),  # of one token for both
    ],
)
def test_prompts_begin_once_and_end_where_the_template_ends(around: str, template: str, expected: list[int]) -> None:
    assert ids(words(around), "one?", template) == expected


@pytest.mark.parametrize("template", ["{{ bos_token }}", ""])
def test_a_chat_template_writes_the_beginning(template: str) -> None:
    tokenizer = words("[BOS] $A [EOS]")
    tokenizer.chat_template = template + "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert ids(tokenizer, "one?", "chat") == [*([4] if template else []), 1, 3]


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("ends", [False, True])
def test_switches_of_llama_s_tokenizer(begins: bool, ends: bool) -> None:
    tokenizer = llama(add_bos_token=begins, add_eos_token=ends)
    text = [3, 4, 5, 6]
    assert ids(tokenizer, "a+b") == ([1, *text] if begins else text)
    assert ids(tokenizer, "a+b", "<s>{question}").count(1) == 1
    assert tokenizer(["a+b"])["input_ids"][0][-1] == (2 if ends else 6), "the tokenizer itself stays as it was"


def test_a_prompt_without_tokens_is_refused() -> None:
    """The begin token alone would be no question."""
    for nothing in ("", " "):
        with pytest.raises(ValueError, match=rf"^mine, train, question 1: the prompt '{nothing}' has no tokens; fix"):
            prompts(words("[BOS] $A [EOS]"), "one", nothing)


def test_a_row_whose_question_has_no_tokens_is_named() -> None:
    maker = PromptMaker(words("$A"), "none", 64, "error")
    with pytest.raises(ValueError, match=r"^train\.jsonl, line 7: the prompt '' has no tokens"):
        maker.of([Question("", "4", "mine", where="train.jsonl, line 7")], "mine, train")


def grown() -> PreTrainedTokenizerBase:
    """A tokenizer of 261 tokens, where the model knows 260."""
    tokenizer = character_tokenizer()
    tokenizer.add_tokens(["<new>"])
    assert len(tokenizer) == 261
    return tokenizer


def test_tokens_that_the_model_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        prompts(grown(), "1+1", "1<new>1", vocabulary=260)
    said = str(error.value)
    assert said.startswith("mine, train, question 1: the prompt holds the token '<new>' of the tokenizer ")
    assert "number 260, and the model has 260 tokens (vocab_size in its config.json)" in said


@pytest.mark.parametrize(("vocabulary", "text"), [(260, "1+1"), (261, "1<new>1"), (None, "1<new>1"), (512, "1<new>1")])
def test_tokens_that_the_model_knows(vocabulary: int | None, text: str) -> None:
    assert prompts(grown(), text, vocabulary=vocabulary)[0].text == text


def test_a_begin_token_that_the_model_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"the token '\[BOS\]' of the tokenizer words, number 4, and the model has 4 "):
        prompts(words("[BOS] $A"), "one", vocabulary=4)


def test_padding_may_be_any_token_that_the_model_knows() -> None:
    tokenizer = character_tokenizer()
    pad = tokenizer.convert_tokens_to_ids(PAD)
    assert padding_id(tokenizer, 260) == padding_id(tokenizer, None) == pad
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == 260
    assert padding_id(tokenizer, 261) == 260
    assert padding_id(tokenizer, 260) == tokenizer.eos_token_id
    tokenizer.add_special_tokens({"eos_token": "[END]"})
    assert padding_id(tokenizer, 260) == 0
    assert padding_id(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(WORDS, "[UNK]"))), 4) == 0
