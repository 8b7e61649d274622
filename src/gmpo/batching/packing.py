"""Micro-batches of sequences of similar length, under a budget of tokens."""

from collections.abc import Sequence

import torch

from gmpo.types import MicroBatch, Prompt, Rollout


def micro_batch_indices(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Cut sequences into micro-batches that hold at most `max_tokens`, padding counted.

    lengths: tokens of each sequence, prompt and response. Returns the indices of each
    micro-batch; sorted by length, so that little of a micro-batch is padding.
    """
    if lengths and max(lengths) > max_tokens:
        raise ValueError(
            f"a sequence of {max(lengths)} tokens does not fit batch.max_tokens_per_micro_batch={max_tokens}: "
            "raise it to at least data.max_prompt_tokens + sampling.max_tokens"
        )
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= max_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def pad_sequences(sequences: Sequence[tuple[Prompt, Rollout]], pad_token_id: int) -> MicroBatch:
    """One micro-batch of these sequences, padded on the right: under a causal mask that padding is never seen."""
    prompt_lengths = [len(prompt.token_ids) for prompt, _ in sequences]
    lengths = [len(p.token_ids) + len(r.response.token_ids) for p, r in sequences]
    first = min(prompt_lengths)
    shape = (len(sequences), max(lengths))
    token_ids = torch.full(shape, pad_token_id, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.bool)
    rollout_log_probs = torch.zeros(shape)
    for row, (prompt, rollout) in enumerate(sequences):
        start, end = prompt_lengths[row], lengths[row]
        token_ids[row, :end] = torch.tensor(prompt.token_ids + rollout.response.token_ids)
        mask[row, start:end] = True
        rollout_log_probs[row, start:end] = torch.tensor(rollout.response.log_probs)
    advantages = torch.tensor([rollout.advantage for _, rollout in sequences])
    return MicroBatch(token_ids, mask[:, first:], rollout_log_probs[:, first:], advantages)
