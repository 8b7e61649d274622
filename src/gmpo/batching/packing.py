"""Mini-batches, and micro-batches of sequences of similar length under a budget of tokens."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gmpo.types import Group, MicroBatch, MiniBatch, Prompt, Rollout

Sequences = list[tuple[Prompt, Rollout]]


def mini_batches(
    groups: Sequence[Group], prompts: int, max_tokens: int, pad_token_id: int, skip_zero_signal: bool
) -> list[MiniBatch]:
    """Cut groups into mini-batches of `prompts` whole groups each, and these into micro-batches.

    skip_zero_signal: responses of advantage 0 are in no micro-batch and only counted.
    """
    return [
        _mini_batch(groups[start : start + prompts], max_tokens, pad_token_id, skip_zero_signal)
        for start in range(0, len(groups), prompts)
    ]


def _mini_batch(groups: Sequence[Group], max_tokens: int, pad_token_id: int, skip_zero_signal: bool) -> MiniBatch:
    active: Sequences = []
    idle_lengths: list[int] = []
    for prompt, rollout in sequences_of(groups):
        if rollout.in_loss and rollout.advantage == 0 and skip_zero_signal:
            idle_lengths.append(len(rollout.response.token_ids))
        elif rollout.in_loss:
            active.append((prompt, rollout))
    columns = torch.arange(max(idle_lengths, default=0))
    idle = columns < torch.tensor(idle_lengths, dtype=torch.long).unsqueeze(-1)
    return MiniBatch([pad_sequences(cut, pad_token_id) for cut in cut_sequences(active, max_tokens)], idle)


def sequences_of(groups: Sequence[Group]) -> Sequences:
    """Each response with its prompt."""
    return [(group.prompt, rollout) for group in groups for rollout in group.rollouts]


def cut_sequences(sequences: Sequences, max_tokens: int) -> list[Sequences]:
    """Cut by `micro_batch_indices`."""
    lengths = [len(prompt.token_ids) + len(rollout.response.token_ids) for prompt, rollout in sequences]
    return [[sequences[i] for i in cut] for cut in micro_batch_indices(lengths, max_tokens)]


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


def pad_sequences(sequences: Sequences, pad_token_id: int) -> MicroBatch:
    """One micro-batch of these sequences, padded on the right: under a causal mask that padding is never seen."""
    prompt_lengths = [len(prompt.token_ids) for prompt, _ in sequences]
    lengths = [len(p.token_ids) + len(r.response.token_ids) for p, r in sequences]
    first = min(prompt_lengths)
    shape = (len(sequences), max(lengths))
    token_ids = torch.full(shape, pad_token_id, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.bool)
    for row, (prompt, rollout) in enumerate(sequences):
        start, end = prompt_lengths[row], lengths[row]
        token_ids[row, :end] = torch.tensor(prompt.token_ids + rollout.response.token_ids)
        mask[row, start:end] = True
    mask = mask[:, first:]
    rollouts = [rollout for _, rollout in sequences]
    return MicroBatch(
        token_ids=token_ids,
        mask=mask,
        advantages=torch.tensor([rollout.advantage for rollout in rollouts]),
        rollout_log_probs=_spread([torch.tensor(r.response.log_probs) for r in rollouts], mask),
        old_log_probs=_spread([rollout.old_log_probs for rollout in rollouts], mask),
        ref_log_probs=_spread([rollout.ref_log_probs for rollout in rollouts], mask),
    )


def _spread(rows: Sequence[Float[Tensor, "T"] | None], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"] | None:
    """One value for each response token to where the mask has it; None where a row has no values."""
    known = [row for row in rows if row is not None]
    if len(known) < len(rows):
        return None
    return known[0].new_zeros(mask.shape).masked_scatter(mask, torch.cat(known))


def response_rows(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> list[Float[Tensor, "T"]]:
    """The values of each row's response tokens, on the CPU: what `pad_sequences` spreads."""
    return list(values[mask].cpu().split(mask.sum(-1).tolist()))
