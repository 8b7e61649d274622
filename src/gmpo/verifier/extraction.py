"""The place of the final answer in a response. Every function here takes time linear in its text."""

import re

# a box without braces holds a number or one letter: in prose, \boxed stands before any word
BARE = r"-?(?:\.?\d|[A-Za-z](?![A-Za-z]))[^\s{}$\\]*"
BOX_OR_BRACE = re.compile(rf"\\(?:boxed|fbox)(?:\s{{0,20}}(?:\{{|({BARE}))|(?![A-Za-z]))|\\[{{}}]|[{{}}]")
# what a box holds that was left blank, or that stands for any answer
NO_CONTENT = re.compile(r"(?:[\s{}$~_?.…]|\\[ ,;:!_]|\\q?quad(?![A-Za-z])|\\[lc]?dots(?![A-Za-z]))*")
# bold or not, "answer" or "final answer"; the blanks are bounded so that no text takes quadratic time
ANSWER_LINE = re.compile(r"(?i)(?:\banswer|答案[是为]?)[ \t*_]{0,20}[:\uff1a][ \t*_}]{0,20}|【答案】")
# a line that holds one formula answers by it; $5 + $6 holds amounts of money and no formula
FORMULA = re.compile(r"\$((?=\S)[^$\n]*(?<=\S)|\s[^$\n]*\s)\$(?!\d)|\\\(((?:[^\\\n]|\\[^()])*)\\\)")
# a minus right after a digit or a bracket is a subtraction, not a sign
NUMBER = re.compile(r"(?:(?<![\d)\]])-)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
THOUGHTS_BEGIN = re.compile(r"<think(?:ing)?>|<\|begin_of_thought\|>|\[THINK\]|◁think▷")
THOUGHTS_END = re.compile(r"</think(?:ing)?>|<\|end_of_thought\|>|\[/THINK\]|◁/think▷")
TAG = re.compile(r"</?answer>")


def final_answer(response: str, last_number: bool = False) -> str | None:
    """Return the last `\\boxed{...}`, else what follows the last "Answer:" on its line, else the last `<answer>` tag's.

    None where there is none of them; thoughts hold no answer. last_number: where there is none, the last number.
    """
    text = without_thoughts(response)
    answer = last_boxed(text)
    if answer is None:
        answer = _last_answer_line(TAG.sub("\n", text))
    if answer is None:
        answer = _last_tagged(text)
    if answer is None and last_number:
        answer = next(reversed(numbers(text)), None)
    return answer.strip() or None if answer is not None else None


def without_thoughts(response: str) -> str:
    """Return what follows the last `</think>`, up to thoughts that begin anew; the whole where nothing follows it.

    Thoughts that never end are no answer: what stands before them counts.
    """
    *_, end = (0, *(found.end() for found in THOUGHTS_END.finditer(response)))
    text = response[end:]
    begin = THOUGHTS_BEGIN.search(text)
    text = text[: begin.start()] if begin else text
    return text if text.strip() or not end else response


def numbers(text: str) -> list[str]:
    """Return the numbers in a text, in plain digits."""
    return [found.replace(",", "") for found in NUMBER.findall(text.replace("\u2212", "-"))]


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{...}` or `\fbox{...}` that is closed and not blank, or of `\boxed 5`."""
    content, opened_last = None, -1
    open_braces: list[int] = []  # where the content of a box begins, or -1 for another brace
    for found in BOX_OR_BRACE.finditer(text):
        token = found.group()
        if found[1] is not None:
            content, opened_last = found[1], found.start()
        elif token.startswith(("\\boxed", "\\fbox")):
            if token.endswith("{"):
                open_braces.append(found.end())
        elif token == "{":
            open_braces.append(-1)
        elif token == "}" and open_braces:
            begin = open_braces.pop()
            if begin > opened_last and not NO_CONTENT.fullmatch(text, begin, found.start()):
                content, opened_last = text[begin : found.start()], begin
    return content


def _last_answer_line(text: str) -> str | None:
    for found in reversed(list(ANSWER_LINE.finditer(text))):
        end = text.find("\n", found.end())
        if answer := _of_line(text[found.end() : None if end < 0 else end]):
            return answer
    return None


def _last_tagged(text: str) -> str | None:
    """Return the content of the last pair of tags; of a tag that is not closed, where generation stopped at its end."""
    before, closing, _ = text.rpartition("</answer>")
    _, opening, content = (before if closing else text).rpartition("<answer>")
    return _of_line(content.strip()) if opening else None


def _of_line(text: str) -> str:
    formulas = [dollars or brackets for dollars, brackets in FORMULA.findall(text)]
    return formulas[0] if len(formulas) == 1 else text.rstrip(" \t*_")
