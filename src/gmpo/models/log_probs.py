"""Log-probabilities of response tokens under the policy."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.functional import pad

from gmpo.models.chunked_log_probs import Values
from gmpo.models.log_prob_head import LogProbHead
from gmpo.parallel.context_parallel import flash_kwargs, gather_columns
from gmpo.types import MicroBatch


@dataclass(frozen=True)
class Rows:
    """The input of one pass of a model."""

    token_ids: Int[Tensor, "R N"]
    position_ids: Int[Tensor, "R N"]
    columns: Int[Tensor, "K"]  # whose predictions are wanted, ascending
    targets: Int[Tensor, "R K"]  # the tokens that follow them
    attention: dict[str, Any] = field(default_factory=dict)  # further arguments of attention


def response_log_probs(
    model: nn.Module,
    batch: MicroBatch,
    temperature: float,
    with_entropy: bool = False,
    packed: bool = False,
    cp_group: ProcessGroup | None = None,
    max_logits_per_chunk: int | None = None,
) -> Values:
    """Return the log-probs of the micro-batch's last T columns, and the entropies if requested.

    In nats, differentiable; mask the values at padding. packed: all sequences are in one row, without padding, which
    the model's attention must support. cp_group: the ranks that share the micro-batch; each sends an equal part of the
    columns through the model and gets the result for all. max_logits_per_chunk: see `Chunks`.

    Without packing, padding is on the right, where a causal model never looks, so no attention mask is needed.
    """
    rows = rows_of(batch, packed)
    log_probs, entropy = predict(model, rows, LogProbHead(temperature, with_entropy, max_logits_per_chunk), cp_group)
    if not packed:
        return log_probs, entropy
    return _to_rows(log_probs, batch), None if entropy is None else _to_rows(entropy, batch)


def rows_of(batch: MicroBatch, packed: bool) -> Rows:
    """Lay out the sequences of a micro-batch for a model: one per row, or all in one row."""
    return _packed(batch) if packed else _padded(batch)


def predict(model: nn.Module, rows: Rows, head: LogProbHead, cp_group: ProcessGroup | None) -> Values:
    """Return the log-probabilities of the rows' targets, and the entropies; see `response_log_probs`."""
    if cp_group is None:
        return _predict(model, rows, head)
    rows = _widened(rows, cp_group.size())
    log_probs, entropy = _predict(model, _part(rows, cp_group.rank(), cp_group.size()), head)
    counts = [len(_part(rows, rank, cp_group.size()).columns) for rank in range(cp_group.size())]
    log_probs = gather_columns(log_probs, counts, cp_group)
    return log_probs, None if entropy is None else gather_columns(entropy, counts, cp_group)


def _padded(batch: MicroBatch) -> Rows:
    (width, columns), device = (batch.token_ids.shape[1], batch.mask.shape[1]), batch.token_ids.device
    positions = torch.arange(width, device=device).expand_as(batch.token_ids)
    predicting = torch.arange(width - 1 - columns, width - 1, device=device)
    return Rows(batch.token_ids, positions, predicting, batch.token_ids[:, -columns:])


def _packed(batch: MicroBatch) -> Rows:
    width, columns = batch.token_ids.shape[1], batch.mask.shape[1]
    positions = torch.arange(width, device=batch.token_ids.device).expand_as(batch.token_ids)
    kept = positions < batch.lengths.unsqueeze(-1)
    token_ids = batch.token_ids[kept].unsqueeze(0)
    responses = pad(batch.mask, (width - columns, 0))[kept]
    return Rows(
        token_ids,
        positions[kept].unsqueeze(0),
        responses.nonzero().squeeze(-1) - 1,
        token_ids[:, responses],
        dict(flash_kwargs(batch.lengths)),
    )


def _to_rows(values: Float[Tensor, "1 K"], batch: MicroBatch) -> Float[Tensor, "B T"]:
    return values.new_zeros(batch.mask.shape).masked_scatter(batch.mask, values)


def _widened(rows: Rows, parts: int) -> Rows:
    """Pad the columns to a multiple of `parts`; packed, the padding is a sequence of its own at the end."""
    extra = -rows.token_ids.shape[1] % parts
    if not extra:
        return rows
    positions = torch.arange(extra, device=rows.position_ids.device).expand(len(rows.position_ids), extra)
    attention = rows.attention
    if attention:
        lengths = pad(attention["cu_seq_lens_q"].diff(), (0, 1), value=extra)
        attention = dict(flash_kwargs(lengths))
    return Rows(
        pad(rows.token_ids, (0, extra)),
        torch.cat([rows.position_ids, positions], dim=1),
        rows.columns,
        rows.targets,
        attention,
    )


def _part(rows: Rows, part: int, parts: int) -> Rows:
    """Return one of `parts` equal parts of the columns; the attention arguments stay those of the whole."""
    width = rows.token_ids.shape[1] // parts
    first, end = part * width, (part + 1) * width
    wanted = (rows.columns >= first) & (rows.columns < end)
    return Rows(
        rows.token_ids[:, first:end],
        rows.position_ids[:, first:end],
        rows.columns[wanted] - first,
        rows.targets[:, wanted],
        rows.attention,
    )


def _predict(model: nn.Module, rows: Rows, head: LogProbHead) -> Values:
    """Predict the wanted columns; without any the model still runs, for the ranks that have some."""
    wanted = len(rows.columns)
    columns = rows.columns if wanted else rows.columns.new_zeros(1)
    targets = rows.targets if wanted else rows.token_ids[:, :1]
    with head.in_place_of_logits(model, targets):
        values = model(
            input_ids=rows.token_ids,
            position_ids=rows.position_ids,
            logits_to_keep=columns,
            use_cache=False,
            **rows.attention,
        ).logits[:, :wanted]
    return values[..., 0], values[..., 1] if head.with_entropy else None
