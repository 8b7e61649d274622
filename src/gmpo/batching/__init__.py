"""How sequences are cut into micro-batches."""

from gmpo.batching.packing import micro_batch_indices, pad_sequences

__all__ = ["micro_batch_indices", "pad_sequences"]
