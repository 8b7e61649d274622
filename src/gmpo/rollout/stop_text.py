"""Stop strings, which end a response."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase

BYTES = 4  # of a character in UTF-8, at most; as many tokens may hold one
LOST = "Invalid prefix encountered"  # tokenizers' error after bytes that are not UTF-8: begin a new stream


class StopText:
    """The text of one response as its tokens come, special tokens included, and whether it holds a stop string.

    A tokenizer of the tokenizers library decodes token by token after the prompt, as vLLM does: both engines end a
    response at the same token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._longest = max(map(len, stop))
        self._backend: Tokenizer | None = tokenizer.backend_tokenizer if tokenizer.is_fast else None
        self._stream = DecodeStream(ids=list(prompt))
        self._tail = ""
        self._token_ids: list[int] = []

    def completed_by(self, token: int) -> bool:
        """Add the next token; return whether it completes a stop string."""
        if self._backend is None:
            self._token_ids = [*self._token_ids[-BYTES * self._longest :], token]
            text = self._tokenizer.decode(self._token_ids)
        else:
            text = self._tail + self._added_by(token, self._backend)
        self._tail = text[max(0, len(text) - self._longest + 1) :]
        return any(stop in text for stop in self._stop)

    def _added_by(self, token: int, backend: Tokenizer) -> str:
        """Return the text that the token adds: none while a character lacks bytes."""
        try:
            return self._stream.step(backend, token) or ""
        except Exception as error:
            if not str(error).startswith(LOST):
                raise
            self._stream = DecodeStream()
            return self._stream.step(backend, token) or ""
