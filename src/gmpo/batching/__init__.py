"""How sequences are cut into mini-batches and micro-batches."""

from gmpo.batching.packing import (
    cut_sequences,
    micro_batch_indices,
    mini_batches,
    pad_sequences,
    response_rows,
    sequences_of,
)

__all__ = [
    "cut_sequences",
    "micro_batch_indices",
    "mini_batches",
    "pad_sequences",
    "response_rows",
    "sequences_of",
]
