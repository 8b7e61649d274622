"""How sequences are cut into mini-batches and micro-batches, and spread over ranks."""

from gmpo.batching.assignment import Cutting, Entry, Plan, entries_of, in_order, make_plan, same_number_of_cuts
from gmpo.batching.balancing import Cost
from gmpo.batching.packing import Sequences, pad_sequences, response_mask, response_rows, sequences_of

__all__ = [
    "Cost",
    "Cutting",
    "Entry",
    "Plan",
    "Sequences",
    "entries_of",
    "in_order",
    "make_plan",
    "pad_sequences",
    "response_mask",
    "response_rows",
    "same_number_of_cuts",
    "sequences_of",
]
