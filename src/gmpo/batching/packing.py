"""Conversion of sequences to tensors."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.types import Group, MicroBatch, Prompt, Rollout

Sequences = list[tuple[Prompt, Rollout]]


def sequences_of(groups: Sequence[Group]) -> Sequences:
    """Return each response with its prompt."""
    return [(group.prompt, rollout) for group in groups for rollout in group.rollouts]


def pad_sequences(sequences: Sequences, pad_token_id: int) -> MicroBatch:
    """Make one micro-batch, padded on the right, where a causal mask never looks.

    Without sequences: one row of padding that does not count, for a rank that must stay in step with the others.
    """
    prompt_lengths = [len(prompt.token_ids) for prompt, _ in sequences] or [1]
    lengths = [len(p.token_ids) + len(r.response.token_ids) for p, r in sequences] or [2]
    first = min(prompt_lengths)
    shape = (len(lengths), max(lengths))
    token_ids = torch.full(shape, pad_token_id, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.bool)
    for row, (prompt, rollout) in enumerate(sequences):
        start, end = prompt_lengths[row], lengths[row]
        token_ids[row, :end] = torch.tensor([*prompt.token_ids, *rollout.response.token_ids])
        mask[row, start:end] = True
    mask = mask[:, first:]
    rollouts = [rollout for _, rollout in sequences]
    return MicroBatch(
        token_ids=token_ids,
        lengths=torch.tensor(lengths),
        mask=mask,
        advantages=torch.tensor([rollout.advantage for rollout in rollouts] or [0.0]),
        rollout_log_probs=_spread([torch.tensor(list(r.response.log_probs)) for r in rollouts], mask),
        old_log_probs=_spread([rollout.old_log_probs for rollout in rollouts], mask),
        ref_log_probs=_spread([rollout.ref_log_probs for rollout in rollouts], mask),
    )


def _spread(rows: Sequence[Float[Tensor, "_"] | None], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"] | None:
    """Place one value for each response token where the mask is True; None where a row has no values."""
    known = [row for row in rows if row is not None]
    if len(known) < len(rows):
        return None
    values = torch.cat(known) if known else torch.zeros(0)
    return values.new_zeros(mask.shape).masked_scatter(mask, values)


def response_mask(lengths: Sequence[int]) -> Bool[Tensor, "B T"]:
    """Return a mask of rows with these numbers of response tokens."""
    columns = torch.arange(max(lengths, default=0))
    return columns < torch.tensor(lengths, dtype=torch.long).unsqueeze(-1)


def response_rows(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> list[Float[Tensor, "_"]]:
    """Return the values of each row's response tokens, on the CPU: the inverse of `pad_sequences`."""
    return list(values[mask].cpu().split(mask.sum(-1).tolist()))
