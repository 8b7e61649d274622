"""How a question becomes a prompt."""

from transformers import PreTrainedTokenizerBase

CHAT = "chat"  # the tokenizer's own chat template
PLACE = "{question}"
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


def check_template(template: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ValueError where this tokenizer cannot render this template."""
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


def render(question: str, template: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The prompt's text, special tokens included."""
    if template == CHAT:
        message = [{"role": "user", "content": question}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        assert isinstance(text, str)
        return text
    return TEMPLATES.get(template, template).replace(PLACE, question)  # not format(): texts hold braces of LaTeX
