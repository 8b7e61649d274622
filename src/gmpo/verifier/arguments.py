r"""LaTeX arguments without braces, as TeX reads them: \frac12 is \frac{1}{2}, \sqrt[3]2 is \sqrt[3]{2}."""

import re

ARGUMENTS = {"\\frac": 2, "\\binom": 2, "\\sqrt": 1, "\\vec": 1, "\\overline": 1, "\\hat": 1}
TOKEN = re.compile(r"\\[A-Za-z]+\s*|\\.|\s+|.", re.DOTALL)
TAKES_ARGUMENTS = re.compile(r"\\(?:frac|binom|sqrt|vec|overline|hat)(?![A-Za-z])|\^\s*-?\(")
DEEPEST = 30  # arguments within arguments
NATURAL = re.compile(r"\\log\s?_\s?(?:\{\s?e\s?\}|e)")
BASE = re.compile(r"\\log\s?_\s?(10(?!\d)|\d)")  # \log_10 x, and \log_23 as the logarithm of 3


def braced(text: str) -> str:
    """Add braces to arguments of fractions, roots and binomials, exponents such as (1/3), and bases of logarithms."""
    if "\\log" in text:
        text = BASE.sub(r"\\log_{\1}", NATURAL.sub(r"\\ln ", text))
    return _Reader(TOKEN.findall(text)).formula() if TAKES_ARGUMENTS.search(text) else text


class _Reader:
    """The tokens of a formula, read once from left to right."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    def formula(self) -> str:
        """Read everything."""
        parts = []
        while self.at < len(self.tokens):
            parts.append(self.element())
        return "".join(parts)

    def element(self) -> str:
        """Read one token, with its arguments where it is a command that takes some."""
        token = self.tokens[self.at]
        self.at += 1
        if self.depth >= DEEPEST:
            return token
        command = token.rstrip()
        if command in ARGUMENTS:
            index = self.index() if command == "\\sqrt" else ""
            return command + index + "".join(self.argument() for _ in range(ARGUMENTS[command]))
        return token + self.exponent() if token == "^" else token

    def argument(self) -> str:
        """Read a group, a command with its arguments, or one character; in braces."""
        self.skip_blanks()
        if self.next() in ("", "}", ")", "]", "&"):
            return ""
        self.depth += 1
        text = self.group("{", "}") if self.next() == "{" else f"{{{self.element().strip()}}}"
        self.depth -= 1
        return text

    def index(self) -> str:
        """Read the [3] of a cube root."""
        self.skip_blanks()
        return self.group("[", "]") if self.next() == "[" else ""

    def exponent(self) -> str:
        """Read an exponent that is a command or in parentheses; any other is left as it is."""
        self.skip_blanks()
        sign = "-" if self.tokens[self.at : self.at + 2] == ["-", "("] else ""
        self.at += len(sign)
        if self.next().rstrip() in ARGUMENTS:
            return self.argument()
        if self.next() != "(":
            return sign
        inside = self.group("(", ")").removeprefix("(").removesuffix(")")
        return f"{{{sign}{inside}}}"

    def group(self, opening: str, closing: str) -> str:
        """Read from an opening bracket to the closing one, or to the end."""
        parts, unclosed = [], 0
        self.depth += 1
        while self.at < len(self.tokens):
            unclosed += (self.next() == opening) - (self.next() == closing)
            parts.append(self.element())
            if unclosed == 0:
                break
        self.depth -= 1
        return "".join(parts)

    def next(self) -> str:
        """Return the next token, or an empty text at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def skip_blanks(self) -> None:
        """Skip to the next token that is not blank."""
        while self.next().isspace():
            self.at += 1
