"""Templates that turn a question into a prompt."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gmpo.data.selection import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHAT = "chat"  # the tokenizer's own chat template
PLACE = "{question}"
SYSTEM_PLACE = "{system}"  # optional in a text, for the system message
PLACES = re.compile("|".join(map(re.escape, (PLACE, SYSTEM_PLACE))))
TEMPLATES = {
    "none": PLACE,
    "question_answer": "Question: {question}\nAnswer:",
    # Qwen2.5-Math's (arXiv:2409.12122): its chat markup and its system message
    "qwen_math": (
        "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    ),
    # DeepSeek-R1-Zero's (arXiv:2501.12948, table 1), as R1-Zero reproductions have it (arXiv:2503.20783, appendix)
    "r1": (
        "A conversation between User and Assistant. The User asks a question, and the Assistant solves it. "
        "The Assistant first thinks about the reasoning process in the mind and then provides the User with the "
        "answer. The reasoning process is enclosed within <think> </think> and answer is enclosed within "
        "<answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> "
        "<answer> answer here </answer>.\nUser: {question}\nAssistant: <think>"
    ),
}

END_OF_THOUGHTS = "</think>"
RESERVED = (  # arguments of apply_chat_template that are set here, or that change the kind of prompt
    *("conversation", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize", "padding"),
    *("truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs"),
)


def check_template(
    template: str,
    tokenizer: "PreTrainedTokenizerBase",
    system: str | None = None,
    arguments: Mapping[str, object] | None = None,
) -> None:
    """Raise ValueError where the tokenizer cannot render the template, or the template has no place for an argument."""
    if template != CHAT and template not in TEMPLATES and PLACE not in str(template):
        known = ", ".join([CHAT, *TEMPLATES])
        raise ValueError(
            f"data.template={template} is not a prompt template; choose one of {known}, "
            f"or write a text that contains {PLACE}"
        )
    if template == CHAT and tokenizer.chat_template is None:
        raise ValueError(
            f"data.template=chat, but the tokenizer {tokenizer.name_or_path} has no chat template; "
            f"choose one of {', '.join(TEMPLATES)}"
        )
    if system and template != CHAT and SYSTEM_PLACE not in template:
        raise ValueError(
            f"data.system={system!r} has no place in data.template={template}, which is a text: choose "
            f"data.template=chat, or write a text that contains {SYSTEM_PLACE} and {PLACE}"
        )
    if arguments:
        _check_arguments(arguments, template, tokenizer)


def _check_arguments(arguments: Mapping[str, object], template: str, tokenizer: "PreTrainedTokenizerBase") -> None:
    said = f"data.chat_template_arguments={dict(arguments)}"
    if template != CHAT:
        raise ValueError(
            f"{said} is for the tokenizer's own chat template, and data.template={template} is a text: choose "
            "data.template=chat, or leave it out"
        )
    source = tokenizer.get_chat_template()
    for name in arguments:
        if name in RESERVED:
            raise ValueError(f"{said}: {name} is not an argument of the template; leave it out")
        if not re.search(rf"\b{re.escape(str(name))}\b", source):
            raise ValueError(
                f"{said}: the chat template of {tokenizer.name_or_path} reads no {name!r}; look for the right name in "
                "it, or leave it out"
            )


def render(
    question: str | Sequence[Message],
    template: str,
    tokenizer: "PreTrainedTokenizerBase",
    arguments: Mapping[str, object] | None = None,
) -> str:
    """Return the prompt's text, special tokens included.

    question: the user's words, or all messages of a chat that ends with them. Raises ValueError where the template has
    no place for one of these, or refuses them.
    """
    messages: list[Message] = [{"role": "user", "content": question}] if isinstance(question, str) else [*question]
    if template != CHAT:
        return _render_text(messages, TEMPLATES.get(template, template), template)
    try:
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **dict(arguments or {})
        )
    except Exception as error:  # a template is code by the model's authors and may raise anything
        roles = ", ".join(str(message["role"]) for message in messages)
        raise ValueError(
            f"the chat template of {tokenizer.name_or_path} refuses the messages {roles}: {_one_line(error)}; change "
            "them, data.system or data.chat_template_arguments, or choose another data.template"
        ) from error
    assert isinstance(text, str)
    if (lost := _left_out(messages, text)) is not None:
        remedy = ", or leave it out by data.system=''" if lost["role"] == "system" else ""
        raise ValueError(
            f"the chat template of {tokenizer.name_or_path} leaves out the {lost['role']} message "
            f"{str(lost['content']).strip()[:60]!r}: choose another data.template{remedy}"
        )
    return text


def _left_out(messages: Sequence[Message], text: str) -> Message | None:
    """Return the first message that a rendered text lacks, verbatim and as JSON.

    Turns keep their order; a template may put the system message anywhere, and leave out an answer's thoughts.
    """
    begin = 0
    for message in messages:
        words = str(message["content"]).rpartition(END_OF_THOUGHTS)[2].strip()
        after = 0 if message["role"] == "system" else begin
        places = [text.find(form, after) for form in (words, json.dumps(words)[1:-1])]
        if max(places) < 0:
            return message
        if message["role"] != "system":
            begin = min(place for place in places if place >= 0) + len(words)
    return None


def _render_text(messages: Sequence[Message], text: str, name: str) -> str:
    words: dict[str, list[str]] = {"system": [], "user": [], "assistant": []}
    for message in messages:
        words[str(message["role"])].append(str(message["content"]))
    if words["assistant"]:
        raise ValueError(
            f"a chat of {len(messages)} messages has no place in data.template={name}, which is a text: choose "
            "data.template=chat"
        )
    if words["system"] and SYSTEM_PLACE not in text:
        raise ValueError(
            f"the system message {words['system'][0][:60]!r} has no place in data.template={name}, which is a text: "
            f"choose data.template=chat, write a text that contains {SYSTEM_PLACE}, or leave system messages out by "
            "data.system=''"
        )
    parts = {PLACE: "\n\n".join(words["user"]), SYSTEM_PLACE: "\n\n".join(words["system"])}
    return PLACES.sub(lambda place: parts[place[0]], text)  # not format(): texts contain LaTeX braces


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
