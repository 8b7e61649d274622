"""Where the final answer stands in a response. Every function here takes time linear in its text."""

import re

BOX_OR_BRACE = re.compile(r"\\(?:boxed|fbox)\s{0,20}(?:\{|([^\s{}$\\]+))|\\[{}]|[{}]")
# bold or not, "answer" or "final answer"; the blanks are bounded so that no text takes quadratic time
ANSWER_LINE = re.compile(r"(?i)\banswer[ \t*_]{0,20}:[ \t*_}]{0,20}([^\n]+)")
FORMULA = re.compile(r"\$([^$\n]+)\$|\\\(((?:[^\\\n]|\\[^()])*)\\\)")  # a line that holds one formula answers by it
# a minus right after a digit or a bracket is a subtraction, not a sign
NUMBER = re.compile(r"(?:(?<![\d)\]])-)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")


def final_answer(response: str, last_number: bool = False) -> str | None:
    """The last `\\boxed{...}`, else what follows the last "Answer:" on its line, else nothing.

    last_number: where there is neither, the last number of the response.
    """
    answer = last_boxed(response)
    if answer is None:
        answer = _last_answer_line(response)
    if answer is None and last_number:
        answer = next(reversed(numbers(response)), None)
    return answer.strip() or None if answer is not None else None


def numbers(text: str) -> list[str]:
    """The numbers that stand in a text, in plain digits."""
    return [found.replace(",", "") for found in NUMBER.findall(text.replace("\u2212", "-"))]


def _last_answer_line(text: str) -> str | None:
    lines = ANSWER_LINE.findall(text)
    if not lines:
        return None
    formulas = [dollars or brackets for dollars, brackets in FORMULA.findall(lines[-1])]
    return formulas[0] if len(formulas) == 1 else lines[-1].rstrip(" \t*_")


def last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` or `\fbox{...}` whose braces close; `\boxed 5` counts too."""
    content, opened_last = None, -1
    open_braces: list[int] = []  # where the content of a box begins, or -1 for another brace
    for found in BOX_OR_BRACE.finditer(text):
        token = found.group()
        if found[1] is not None:
            content, opened_last = found[1], found.start()
        elif token.startswith(("\\boxed", "\\fbox")):
            open_braces.append(found.end())
        elif token == "{":
            open_braces.append(-1)
        elif token == "}" and open_braces:
            begin = open_braces.pop()
            if begin > opened_last:
                content, opened_last = text[begin : found.start()], begin
    return content
