"""How a question becomes a prompt."""

from transformers import PreTrainedTokenizerBase

CHAT = "chat"  # the tokenizer's own chat template
TEMPLATES = {
    "none": "{question}",
    "question_answer": "Question: {question}\nAnswer:",
}


def check_template(template: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ValueError where this tokenizer cannot render this template."""
    if template != CHAT and template not in TEMPLATES:
        known = ", ".join([CHAT, *TEMPLATES])
        raise ValueError(f"data.template={template} is not a prompt template; choose one of {known}")
    if template == CHAT and tokenizer.chat_template is None:
        raise ValueError(
            f"data.template=chat, but the tokenizer {tokenizer.name_or_path} has no chat template; "
            f"choose one of {', '.join(TEMPLATES)}"
        )


def render(question: str, template: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The prompt's text, special tokens included."""
    if template == CHAT:
        message = [{"role": "user", "content": question}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        assert isinstance(text, str)
        return text
    return TEMPLATES[template].format(question=question)
