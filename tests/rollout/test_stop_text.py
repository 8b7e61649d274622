from transformers import ByT5Tokenizer, PreTrainedTokenizerBase

from gmpo.models.tiny import character_tokenizer
from gmpo.rollout.stop_text import StopText


def ended_after(tokenizer: PreTrainedTokenizerBase, text: str, stop: list[str]) -> str | None:
    """The text of the tokens until one completes a stop string, prompt and all in one tokenizer."""
    watched = StopText(tokenizer, tokenizer("a prompt</answer>").input_ids, stop)
    token_ids = tokenizer(text, add_special_tokens=False).input_ids
    for length, token in enumerate(token_ids, start=1):
        if watched.completed_by(token):
            return tokenizer.decode(token_ids[:length])
    return None


def check(tokenizer: PreTrainedTokenizerBase) -> None:
    assert ended_after(tokenizer, "<answer>7</answer> and", ["</answer>"]) == "<answer>7</answer>"
    assert ended_after(tokenizer, "</ answer></answe", ["</answer>"]) is None
    assert ended_after(tokenizer, "a </a </answer></answer>", ["</answer>", "</a"]) == "a </a"
    assert ended_after(tokenizer, "1 2", [" "]) == "1 "
    assert ended_after(tokenizer, "é 中 文", ["中 文"]) == "é 中 文"
    assert ended_after(tokenizer, "x" * 5000 + "</answer>!", ["</answer>"]) == "x" * 5000 + "</answer>"


def test_a_token_completes_a_stop_string() -> None:
    check(character_tokenizer())


def test_a_tokenizer_in_python_does_the_same() -> None:
    tokenizer = ByT5Tokenizer()
    assert not tokenizer.is_fast
    check(tokenizer)


def test_bytes_that_are_no_text_do_not_hide_what_follows() -> None:
    tokenizer = character_tokenizer()
    lone = tokenizer("中").input_ids[1:]  # a character without its first byte
    watched = StopText(tokenizer, [], ["</a>"])
    completed = [watched.completed_by(token) for token in [*lone, *lone, *tokenizer("<b></a>").input_ids]]
    assert completed == [False] * (len(completed) - 1) + [True]
