"""Chats on their way into a model's own chat template: system messages, earlier turns, arguments, and refusals."""

import json
import logging
from pathlib import Path

import pytest

from gmpo.data import MathDataModule, ProblemDataset, Wrapping
from gmpo.data.prompts import PromptMaker
from gmpo.data.selection import Question
from gmpo.models.tiny import character_tokenizer
from gmpo.types import Prompt

SYSTEM = {"role": "system", "content": "You add."}
FEW_SHOT = [
    {"role": "user", "content": "1+1"},
    {"role": "assistant", "content": "It is 2."},
    {"role": "user", "content": "2+2"},
]
STRICT = (  # as Gemma's and Mistral's
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate\\nuser/assistant') }}{% endif %}"
    "[{{ m.role }}]{{ m.content | trim }}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{{ effort }}"
)
DEAF = "{% for m in messages %}{% if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}"


def rows(folder: Path, *chats: object, **options: object) -> ProblemDataset:
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps({"problem": chat, "answer": "4"}) + "\n" for chat in chats))
    return ProblemDataset("mine", path=str(path), question_format="chat", **options)  # type: ignore[arg-type]


def made(
    dataset: ProblemDataset, template: str = "chat", chat_template: str | None = None, **options: object
) -> list[Prompt]:
    tokenizer = character_tokenizer()
    tokenizer.chat_template = chat_template or tokenizer.chat_template
    return PromptMaker(tokenizer, template, 512, "error", **options).prompts(dataset, "train")  # type: ignore[arg-type]


def text(dataset: ProblemDataset, template: str = "chat", chat_template: str | None = None, **options: object) -> str:
    (prompt,) = made(dataset, template, chat_template, **options)
    return prompt.text


def refusal(
    dataset: ProblemDataset, template: str = "chat", chat_template: str | None = None, **options: object
) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        made(dataset, template, chat_template, **options)
    assert error.type is ValueError
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_system_message_is_kept(tmp_path: Path) -> None:
    dataset = rows(tmp_path, [SYSTEM, FEW_SHOT[0]])
    assert text(dataset) == "<|system|>You add.<|user|>1+1<|assistant|>"
    (prompt,) = made(dataset)
    assert prompt.question == "1+1"


def test_few_shot_turns_are_kept(tmp_path: Path) -> None:
    whole = "<|system|>You add.<|user|>1+1<|assistant|>It is 2.<|user|>2+2<|assistant|>"
    (prompt,) = made(rows(tmp_path, [SYSTEM, *FEW_SHOT]))
    assert (prompt.text, prompt.question) == (whole, "2+2")


def test_several_messages_of_the_user_stay_several(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": part} for part in ("Add.", "1+1")]
    assert text(rows(tmp_path, chat)) == "<|user|>Add.<|user|>1+1<|assistant|>"
    assert text(rows(tmp_path, chat), "none") == "Add.\n\n1+1"


def test_what_else_a_message_holds_reaches_the_template(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "1+1", "name": "Ann", "tool_calls": None}]
    template = "{% for m in messages %}{{ m.name }}: {{ m.content }}{{ m.tool_calls }}{% endfor %}"
    assert text(rows(tmp_path, chat), chat_template=template) == "Ann: 1+1"


@pytest.mark.parametrize("chat", [[*FEW_SHOT[:2]], [*FEW_SHOT, SYSTEM], [*FEW_SHOT, FEW_SHOT[1]], [FEW_SHOT[1]]])
def test_a_chat_that_does_not_end_with_a_question(tmp_path: Path, chat: object) -> None:
    said = refusal(rows(tmp_path, FEW_SHOT, chat))
    assert (
        f"{tmp_path}/train.jsonl, line 2: column 'problem' must hold messages of the user or the system, and " in said
    )
    assert "answers only before the user's last question, found dict {'role': " in said
    assert said.endswith("cut off what follows that question: the policy must answer it")


@pytest.mark.parametrize("role", ["tool", "developer", "", None, 1])
def test_other_roles_are_refused(tmp_path: Path, role: object) -> None:
    said = refusal(rows(tmp_path, [{"role": role, "content": "x"}, FEW_SHOT[0]]))
    assert "must hold messages of system, user or assistant" in said


def test_the_same_question_in_other_chats_is_another_problem(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chats = [FEW_SHOT, FEW_SHOT[2:], [SYSTEM, *FEW_SHOT], [*FEW_SHOT[:1], {**FEW_SHOT[1], "content": "2"}, FEW_SHOT[2]]]
    with caplog.at_level(logging.INFO, logger="gmpo"):
        assert len(rows(tmp_path, *chats, *chats[:2]).questions("train")) == 4
    assert caplog.messages == ["mine, train: 2 of 6 rows repeat a problem and are dropped"]


@pytest.mark.parametrize("instruction", ["keep", "replace"])
def test_the_wrapping_of_a_question_in_a_chat(tmp_path: Path, instruction: str) -> None:
    wrapped = {"role": "user", "content": "Solve: 2+2 Thanks."}
    dataset = rows(
        tmp_path, [SYSTEM, *FEW_SHOT[:2], wrapped], unwrap=Wrapping("Solve: ", " Thanks."), instruction=instruction
    )
    question = "Solve: 2+2 Thanks." if instruction == "keep" else "2+2"
    expected = f"<|system|>You add.<|user|>1+1<|assistant|>It is 2.<|user|>{question}<|assistant|>"
    assert text(dataset) == expected
    assert text(dataset, suffix=" Box it.") == expected.replace(question, f"{question} Box it.")


def test_data_system_is_put_before_every_question(tmp_path: Path) -> None:
    assert text(rows(tmp_path, FEW_SHOT[:1]), system="Box it.") == "<|system|>Box it.<|user|>1+1<|assistant|>"
    maker = PromptMaker(character_tokenizer(), "chat", 64, "error", system="Box it.")
    (prompt,) = maker.of([Question("1+1", "2", "plain")], "plain, train")
    assert prompt.text == "<|system|>Box it.<|user|>1+1<|assistant|>"


@pytest.mark.parametrize(
    ("system", "begin", "done"),
    [("Box it.", "<|system|>Box it.", "replaced by data.system"), ("", "", "left out (data.system='')")],
)
def test_data_system_takes_the_place_of_the_rows_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, system: str, begin: str, done: str
) -> None:
    dataset = rows(tmp_path, [SYSTEM, FEW_SHOT[0]], FEW_SHOT)
    with caplog.at_level(logging.INFO, logger="gmpo"):
        first, second = made(dataset, system=system)
    assert first.text == f"{begin}<|user|>1+1<|assistant|>"
    assert second.text.startswith(f"{begin}<|user|>1+1<|assistant|>It is 2.<|user|>")
    assert caplog.messages == [f"mine, train: the system messages of 1 of 2 questions are {done}"]


def test_text_templates_have_a_place_for_it_or_refuse_it(tmp_path: Path) -> None:
    own, bare = rows(tmp_path, [SYSTEM, FEW_SHOT[0]]), [Question("1+{system}", "2", "mine")]
    assert text(own, "{system}\n{question} =") == "You add.\n1+1 ="
    assert text(own, "{system}\n{question} =", system="Box it.") == "Box it.\n1+1 ="
    assert text(own, "none", system="") == "1+1"
    maker = PromptMaker(character_tokenizer(), "{system}|{question}", 64, "error", system="Say {question}.")
    assert maker.of(bare, "mine")[0].text == "Say {question}.|1+{system}"
    said = refusal(own, "qwen_math")
    assert said.startswith(f"{tmp_path}/train.jsonl, line 1: the system message 'You add.' has no place in data.templ")
    assert "data.template=chat" in said
    assert "data.system=''" in said
    for template in ("qwen_math", "Q: {question}"):
        assert refusal(own, template, system="Box it.").startswith(
            "data.system='Box it.' has no place in data.template="
        )
    assert "a chat of 3 messages has no place in data.template=r1" in refusal(rows(tmp_path, FEW_SHOT), "r1")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("chat", "<|user|>1+1<|assistant|>It is 2.<|user|>2+2\nBox {it}.<|assistant|>"),
        ("question_answer", "Question: 2+2\nBox {it}.\nAnswer:"),
    ],
)
def test_data_suffix_follows_the_question(tmp_path: Path, template: str, expected: str) -> None:
    dataset = rows(tmp_path, FEW_SHOT if template == "chat" else FEW_SHOT[2:])
    (prompt,) = made(dataset, template, suffix="\nBox {it}.")
    assert (prompt.text, prompt.question) == (expected, "2+2")


@pytest.mark.parametrize(("suffix", "warned"), [("Box it.", True), (" Box it.", False), ("", False), (None, False)])
def test_a_suffix_that_sticks_to_the_question(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str | None, warned: bool
) -> None:
    assert text(rows(tmp_path, FEW_SHOT[:1]), suffix=suffix) == f"<|user|>1+1{suffix or ''}<|assistant|>"
    assert [("without a space" in message) for message in caplog.messages] == [True] * warned


def test_arguments_of_the_chat_template(tmp_path: Path) -> None:
    dataset = rows(tmp_path, FEW_SHOT[:1])
    assert text(dataset, chat_template=THINKING) == "[user]1+1"
    off = {"enable_thinking": False}
    assert text(dataset, chat_template=THINKING, chat_template_arguments=off) == "[user]1+1<think></think>"
    both = {"enable_thinking": True, "effort": "low"}
    assert text(dataset, chat_template=THINKING, chat_template_arguments=both) == "[user]1+1low"
    assert text(dataset, "none", chat_template_arguments={}) == "1+1"


@pytest.mark.parametrize(
    ("arguments", "template", "said"),
    [
        ({"enable_thinkin": False}, "chat", "reads no 'enable_thinkin'"),
        ({"tokenize": True}, "chat", "tokenize is not an argument of the template"),
        ({"add_generation_prompt": False}, "chat", "add_generation_prompt is not an argument of the template"),
        ({"enable_thinking": False}, "none", "is for the tokenizer's own chat template, and data.template=none is a"),
        ({"enable_thinking": False}, "qwen_math", "data.template=qwen_math is a text"),
        ("enable_thinking", "chat", "must hold names and values, such as {enable_thinking: false}"),
    ],
)
def test_arguments_that_nothing_reads_are_refused(tmp_path: Path, arguments: object, template: str, said: str) -> None:
    message = refusal(rows(tmp_path, FEW_SHOT), template, THINKING, chat_template_arguments=arguments)
    assert message.startswith("data.chat_template_arguments=")
    assert said in message


@pytest.mark.parametrize(
    ("chat", "words"),
    [
        ([SYSTEM, FEW_SHOT[0]], "refuses the messages system, user: System role not supported; change them"),
        (
            [FEW_SHOT[0], FEW_SHOT[2]],
            "refuses the messages user, user: Conversation roles must alternate user/assistant;",
        ),
    ],
)
def test_a_chat_template_that_raises_is_one_sentence_with_its_words(tmp_path: Path, chat: object, words: str) -> None:
    said = refusal(rows(tmp_path, FEW_SHOT, chat), chat_template=STRICT)
    assert said.startswith(f"{tmp_path}/train.jsonl, line 2: the chat template of ")
    assert words in said


@pytest.mark.parametrize(
    "template", ["{{ messages[0].content + 1 }}", "{% if %}", "{{ nothing.at.all }}", "{{ 1 / 0 }}"]
)
def test_a_broken_chat_template_is_one_sentence(tmp_path: Path, template: str) -> None:
    assert f"{tmp_path}/train.jsonl, line 1: the chat template of " in refusal(
        rows(tmp_path, FEW_SHOT[:1]), chat_template=template
    )


def test_a_chat_template_that_leaves_messages_out_is_refused(tmp_path: Path) -> None:
    said = refusal(rows(tmp_path, [SYSTEM, FEW_SHOT[0]]), chat_template=DEAF)
    assert "leaves out the system message 'You add.'" in said
    assert "data.system=''" in said
    assert text(rows(tmp_path, [SYSTEM, FEW_SHOT[0]]), chat_template=DEAF, system="") == "[user]1+1"
    assert "leaves out the user message '1+1'" in refusal(rows(tmp_path, FEW_SHOT[:1]), chat_template="Hello.")


@pytest.mark.parametrize(("option", "value"), [("system", 7), ("suffix", ["x"]), ("system", False)])
def test_options_that_are_no_text(tmp_path: Path, option: str, value: object) -> None:
    assert refusal(rows(tmp_path, FEW_SHOT), **{option: value}).startswith(f"data.{option}={value} must be a text")


def test_the_datamodule_hands_all_of_it_on(tmp_path: Path) -> None:
    tokenizer = character_tokenizer()
    tokenizer.chat_template = THINKING
    data = MathDataModule(
        rows(tmp_path, [SYSTEM, FEW_SHOT[0]]),
        *(tokenizer, "chat", 64, "error", 1, 1, 0),
        validate=False,
        system="Add!",
        suffix=" Box it.",
        chat_template_arguments={"enable_thinking": False},
        vocabulary=260,
    )
    data.setup()
    assert [prompt.text for prompt in data.peek()] == ["[system]Add![user]1+1 Box it.<think></think>"]
