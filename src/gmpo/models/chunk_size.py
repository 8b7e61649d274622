"""How many logits exist at once where log-probs are computed; no torch, for the planner."""

ON_GPU = 2**27  # half a GiB in float32: products that fill a GPU
ON_CPU = 2**18  # 1 MiB: what follows a product finds it in the cache
FEWEST_WORDS = 1024  # of a tile, where there are more tokens than it holds: products over fewer words are slow


def tile_size(tokens: int, words: int, at_once: int) -> tuple[int, int]:
    """Tokens and words of the largest tile, of so many in all; at_once: their product, at most.

    Tiles are wide rather than long: a row of the weight gets its gradient from all tokens before the next.
    """
    longest = _even(tokens, max(1, at_once // min(words, FEWEST_WORDS)))
    return longest, _even(words, max(1, at_once // max(1, longest)))


def _even(length: int, at_most: int) -> int:
    """The length of the largest of parts that are about the same."""
    return -(-length // max(1, -(-length // at_most)))
