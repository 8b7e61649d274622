"""What each template makes of a question, character by character."""

import pytest

from gmpo.data.templates import TEMPLATES, check_template, render
from gmpo.models.tiny import character_tokenizer

QUESTION = "What is $\\frac{1}{2}+{question}$?"  # braces of LaTeX, and what looks like a place
QWEN_MATH = """\
<|im_start|>system
Please reason step by step, and put your final answer within \\boxed{}.<|im_end|>
<|im_start|>user
What is $\\frac{1}{2}+{question}$?<|im_end|>
<|im_start|>assistant
"""
R1 = (
    "A conversation between User and Assistant. The User asks a question, and the Assistant solves it. The Assistant "
    "first thinks about the reasoning process in the mind and then provides the User with the answer. The reasoning "
    "process is enclosed within <think> </think> and answer is enclosed within <answer> </answer> tags, respectively, "
    "i.e., <think> reasoning process here </think> <answer> answer here </answer>.\n"
    "User: What is $\\frac{1}{2}+{question}$?\nAssistant: <think>"
)
WRITTEN = {
    "none": QUESTION,
    "question_answer": f"Question: {QUESTION}\nAnswer:",
    "qwen_math": QWEN_MATH,
    "r1": R1,
    "Box it as \\boxed{}: {question} =": f"Box it as \\boxed{{}}: {QUESTION} =",
}


@pytest.mark.parametrize(("template", "text"), WRITTEN.items())
def test_templates_to_the_letter(template: str, text: str) -> None:
    check_template(template, character_tokenizer())
    assert render(QUESTION, template, character_tokenizer()) == text


def test_every_template_is_tested() -> None:
    assert TEMPLATES.keys() <= WRITTEN.keys()


@pytest.mark.parametrize("template", ["poem", "{}", "{problem}", "Solve: {question", ""])
def test_text_without_a_place_for_the_question(template: str) -> None:
    with pytest.raises(ValueError, match="is not a prompt template") as error:
        check_template(template, character_tokenizer())
    said = str(error.value)
    assert said.startswith(f"data.template={template} ")
    assert "choose one of chat, none, question_answer, qwen_math, r1, or write a text that contains {question}" in said
