"""Formulas for the bytes that a forward and backward pass keeps.

They count the tensors that transformers' Qwen and Llama blocks keep for the backward pass and the temporaries at its
peak, for each token that a rank reads. Tests compare them with torch's memory tracker (docs/planning.md). Letters: D
hidden width, Q and K width of all query and key/value heads, I width of a feed-forward part, E experts of which k are
active for a token, b bytes of a number.
"""

from gmpo.models.chunk_size import chunk_size
from gmpo.models.shape import ModelShape

WIDE = 4  # bytes of values computed from logits, unless logits have more


def block_kept(shape: ModelShape, b: int, packed: bool) -> int:
    """Return the bytes that one block keeps for its backward pass, without checkpointing."""
    norms = 2 * (shape.hidden * (4 + 2 * b))  # in float32: 4 D; its result and what the next product reads: 2 b D
    return norms + _attention_kept(shape, b, packed) + _feed_forward_kept(shape, b)


def block_kept_selectively(shape: ModelShape, b: int) -> int:
    """Return the bytes of a block that keeps matrix products, attention and its input."""
    qkv = shape.query_width + 2 * shape.kv_width
    attention = b * (qkv + shape.query_width + shape.hidden) + 4 * shape.heads
    if shape.experts:
        products = shape.experts_per_token * (2 * shape.intermediate + shape.hidden) + shape.experts
    else:
        products = 2 * shape.intermediate + shape.hidden
    return attention + b * products + b * shape.hidden


def block_backward(shape: ModelShape, b: int) -> int:
    """Return the bytes of temporaries at the peak of one block's backward pass, besides what is kept."""
    widest = 3 * shape.experts_per_token * shape.hidden if shape.experts else 3 * shape.intermediate
    return b * (widest + shape.hidden)


def block_forward(shape: ModelShape, b: int) -> int:
    """Return the bytes at the peak of one block's pass without a gradient."""
    k, width = shape.experts_per_token, shape.intermediate
    if shape.experts:
        feed_forward = b * max(4 * k * shape.hidden, k * (4 * width + shape.hidden)) + 40 * k
    else:
        feed_forward = 3 * b * width
    return feed_forward + 4 * b * shape.hidden + 2 * b * shape.head_dim


def block_input(shape: ModelShape, b: int) -> int:
    """Return the bytes of a block's input: all that checkpointing keeps of it."""
    return b * shape.hidden


def around_blocks(shape: ModelShape, b: int) -> int:
    """Return the bytes kept outside the blocks: the last norm, the head's input, rotary tables, token ids."""
    return shape.hidden * (4 + 2 * b) + 2 * b * shape.head_dim + 8


def head(shape: ModelShape, b: int, tokens: int, max_logits: int, with_entropy: bool) -> int:
    """Return the bytes of one chunk: its logits, a wide copy, and exponentials where entropies are wanted."""
    n, vocab = chunk_size(tokens, shape.vocabulary, max_logits)
    wide = max(b, WIDE)
    return n * vocab * (b + (wide if b < wide else 0) + (wide if with_entropy else 0))


def head_backward(shape: ModelShape, b: int, tokens: int, max_logits: int) -> int:
    """Return the bytes besides a chunk: gradient sums of all tokens and of the chunk's vocabulary entries."""
    if b >= WIDE:
        return b * tokens * shape.hidden
    n, vocab = chunk_size(tokens, shape.vocabulary, max_logits)
    return shape.hidden * (WIDE * (tokens + vocab) + b * max(n, vocab))


def _attention_kept(shape: ModelShape, b: int, packed: bool) -> int:
    """Count queries, keys, values, the result and its log-sum-exp; packed, keys and values repeat for all heads."""
    keys = shape.query_width if packed else shape.kv_width
    kept = b * (2 * shape.query_width + 2 * keys) + 4 * shape.heads
    if shape.qk_norm:
        kept += (4 + b) * (shape.query_width + shape.kv_width) + 4 * (shape.heads + shape.kv_heads)
    return kept


def _feed_forward_kept(shape: ModelShape, b: int) -> int:
    """Count gate, activation, up and their product; for experts also dispatched and returned tokens, and routes."""
    if not shape.experts:
        return 4 * b * shape.intermediate
    k = shape.experts_per_token
    return k * (4 * b * shape.intermediate + 2 * b * shape.hidden + 40) + 4 * shape.experts
