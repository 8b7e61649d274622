"""How sequences are cut into mini-batches and micro-batches, and spread over ranks."""

from gmpo.batching.assignment import (
    Assignment,
    BatchingConfig,
    Entry,
    assign,
    entries_of,
    in_order,
    split_without_gradient,
)
from gmpo.batching.balancing import Cost
from gmpo.batching.packing import Sequences, pad_sequences, response_mask, response_rows, sequences_of

__all__ = [
    "Cost",
    "BatchingConfig",
    "Entry",
    "Assignment",
    "Sequences",
    "entries_of",
    "in_order",
    "assign",
    "pad_sequences",
    "response_mask",
    "response_rows",
    "split_without_gradient",
    "sequences_of",
]
