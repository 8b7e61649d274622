"""Splitting of sequences into mini-batches and micro-batches, and their distribution over ranks."""

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
    "Assignment",
    "BatchingConfig",
    "Cost",
    "Entry",
    "Sequences",
    "assign",
    "entries_of",
    "in_order",
    "pad_sequences",
    "response_mask",
    "response_rows",
    "sequences_of",
    "split_without_gradient",
]
