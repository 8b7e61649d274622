"""Extraction of the final answer from a response. Every function takes time linear in its text."""

import re

# a box without braces holds a number or one letter: in prose, any word may follow \boxed
BARE = r"-?(?:\.?\d|[A-Za-z](?![A-Za-z]))[^\s{}$\\]*"
BOX_OR_BRACE = re.compile(rf"\\(?:boxed|fbox)(?:\s{{0,20}}(?:\{{|({BARE}))|(?![A-Za-z]))|\\[{{}}]|[{{}}]")
# the content of a blank box, or of a placeholder for any answer
NO_CONTENT = re.compile(r"(?:[\s{}$~_?.…]|\\[ ,;:!_]|\\q?quad(?![A-Za-z])|\\[lc]?dots(?![A-Za-z]))*")
# bold or not, "answer" or "final answer"; the number of blanks is bounded so that no text takes quadratic time
ANSWER_LINE = re.compile(r"(?i)(?:\banswer|答案[是为]?)[ \t*_]{0,20}[:\uff1a][ \t*_}]{0,20}|【答案】")
# in a line with one formula that is the answer; $5 + $6 has amounts of money and no formula
FORMULA = re.compile(r"\$((?=\S)[^$\n]*(?<=\S)|\s[^$\n]*\s)\$(?!\d)|\\\(((?:[^\\\n]|\\[^()])*)\\\)")
# a minus right after a digit or a bracket is a subtraction, not a sign
NUMBER = re.compile(r"(?:(?<![\d)\]])-)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
THOUGHTS_BEGIN = re.compile(r"<think(?:ing)?>|<\|begin_of_thought\|>|\[THINK\]|◁think▷")
THOUGHTS_END = re.compile(r"</think(?:ing)?>|<\|end_of_thought\|>|\[/THINK\]|◁/think▷")
TAG = re.compile(r"</?answer>")


def final_answer(response: str, last_number: bool = False) -> str | None:
    """Return the last `\\boxed{...}`, else the rest of the last "Answer:" line, else the last `<answer>` tag's content.

    None where there is none of them; thoughts are ignored. last_number: return the last number instead of None.
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
    """Return the text after the last `</think>`, up to further thoughts; the whole text if nothing follows.

    Thoughts that never end are no answer: the text before them counts.
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
    r"""Return the content of the last closed, non-blank `\boxed{...}` or `\fbox{...}`, or of `\boxed 5`."""
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
    """Return the content of the last pair of tags, or of an unclosed last tag: generation may stop at `</answer>`."""
    before, closing, _ = text.rpartition("</answer>")
    _, opening, content = (before if closing else text).rpartition("<answer>")
    return _of_line(content.strip()) if opening else None


def _of_line(text: str) -> str:
    formulas = [dollars or brackets for dollars, brackets in FORMULA.findall(text)]
    return formulas[0] if len(formulas) == 1 else text.rstrip(" \t*_")
