"""The number of logits that exist at once when log-probs are computed. Imports no torch, for the planner."""

ON_GPU = 2**27  # half a GiB in float32: products that fill a GPU
ON_CPU = 2**18  # 1 MiB: a product is still in the cache when it is used
MIN_VOCAB = 1024  # of a chunk, where there are more tokens than it holds: narrower products are slow


def chunk_size(tokens: int, vocab: int, max_logits: int) -> tuple[int, int]:
    """Return the tokens and vocabulary entries of the largest chunk; max_logits: their product, at most.

    Chunks are wide rather than long: a row of the weight gets its gradient from all tokens before the next.
    """
    longest = _even(tokens, max(1, max_logits // min(vocab, MIN_VOCAB)))
    return longest, _even(vocab, max(1, max_logits // max(1, longest)))


def _even(length: int, at_most: int) -> int:
    """Return the length of the largest of parts that are about the same."""
    return -(-length // max(1, -(-length // at_most)))
