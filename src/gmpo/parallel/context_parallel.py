"""Attention over sequences that are split over ranks (DeepSpeed-Ulysses, arXiv:2309.14509).

Each rank holds a part of the tokens. Around attention the ranks exchange tokens for heads, so that each sees the whole
sequence for its part of the heads, and then back. Models are not changed: these are attention functions registered with
transformers under names of their own.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.modeling_flash_attention_utils import FlashAttentionKwargs

from gmpo.compat import all_to_all_single_autograd
from gmpo.parallel.layout import kv_repeats

Attention = Callable[..., tuple[Tensor, Tensor | None]]

SDPA, VARLEN, FLASH = "sdpa", "varlen", "flash_attention_2"
ATTENTIONS = (SDPA, VARLEN, FLASH)
PACKING = (VARLEN, FLASH)  # these separate the sequences of one row


def causal_attention(
    module: nn.Module,
    query: Float[Tensor, "B H S D"],
    key: Float[Tensor, "B K S D"],
    value: Float[Tensor, "B K S D"],
    attention_mask: None,
    scaling: float | None = None,
    **unused: object,
) -> tuple[Float[Tensor, "B S H D"], None]:
    """Apply torch's scaled dot-product attention to whole rows; K divides H."""
    attended = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)
    return attended.transpose(1, 2), None


def varlen_attention(
    module: nn.Module,
    query: Float[Tensor, "1 H N D"],
    key: Float[Tensor, "1 K N D"],
    value: Float[Tensor, "1 K N D"],
    attention_mask: None,
    scaling: float | None = None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    **unused: object,
) -> tuple[Float[Tensor, "1 N H D"], None]:
    """Apply causal attention within each of the sequences packed into a row.

    On a GPU by torch's kernel for variable lengths; on a CPU, which has none, sequence by sequence.
    """
    if query.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        repeats = query.shape[1] // key.shape[1]  # torch 2.11 does not support grouped heads here
        key, value = (tensor.repeat_interleave(repeats, dim=1) for tensor in (key, value))
        tokens_first = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
        ends, longest, causal = cu_seq_lens_q, max_length_q, (-1, 0)
        attended = varlen_attn(*tokens_first, ends, ends, longest, longest, scale=scaling, window_size=causal)
        return attended.unsqueeze(0), None
    lengths = cu_seq_lens_q.diff().tolist()
    parts = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    return torch.cat([causal_attention(module, q, k, v, None, scaling)[0] for q, k, v in parts], dim=1), None


def flash_kwargs(lengths: Tensor) -> FlashAttentionKwargs:
    """Return transformers' attention arguments for sequences of these lengths in one row."""
    ends = torch.nn.functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    longest = int(lengths.max())
    return FlashAttentionKwargs(cu_seq_lens_q=ends, cu_seq_lens_k=ends, max_length_q=longest, max_length_k=longest)


def attention_name(attention: str, group: ProcessGroup | None) -> str:
    """Return transformers' name of `attention`, for sequences split over `group` if given.

    Raises ValueError for an attention other than sdpa, varlen and flash_attention_2.
    """
    if attention not in ATTENTIONS:
        raise ValueError(f"model.attention={attention} must be one of {', '.join(ATTENTIONS)}")
    AttentionInterface.register(VARLEN, varlen_attention)
    if group is None:
        return attention
    inner = {SDPA: causal_attention, VARLEN: varlen_attention}.get(attention) or AttentionInterface()[attention]
    name = f"ulysses_{attention}"
    AttentionInterface.register(name, _Ulysses(inner, group))
    return name


class _Ulysses:
    """An attention function over tokens that are split over the ranks of a group in equal parts."""

    def __init__(self, attention: Attention, group: ProcessGroup) -> None:
        self.attention = attention
        self.group = group
        self.ranks = group.size()

    def __call__(
        self,
        module: nn.Module,
        query: Float[Tensor, "B H s D"],
        key: Float[Tensor, "B K s D"],
        value: Float[Tensor, "B K s D"],
        attention_mask: None,
        **settings: Any,
    ) -> tuple[Float[Tensor, "B s H D"], None]:
        repeats = kv_repeats(query.shape[1], key.shape[1], self.ranks)
        key, value = (tensor.repeat_interleave(repeats, dim=1) for tensor in (key, value))
        whole = [self._heads_for_tokens(tensor) for tensor in (query, key, value)]
        attended, _ = self.attention(module, *whole, None, **settings)
        return self._tokens_for_heads(attended), None

    def _heads_for_tokens(self, tensor: Float[Tensor, "B H s D"]) -> Float[Tensor, "B h S D"]:
        batch, heads, tokens, width = tensor.shape
        by_receiver = tensor.unflatten(1, (self.ranks, -1)).permute(1, 0, 2, 3, 4)  # C B h s D
        by_sender = self._trade(by_receiver)
        return by_sender.permute(1, 2, 0, 3, 4).reshape(batch, heads // self.ranks, self.ranks * tokens, width)

    def _tokens_for_heads(self, tensor: Float[Tensor, "B S h D"]) -> Float[Tensor, "B s H D"]:
        batch, tokens, heads, width = tensor.shape
        by_receiver = tensor.unflatten(1, (self.ranks, -1)).permute(1, 0, 2, 3, 4)  # C B s h D
        by_sender = self._trade(by_receiver)
        return by_sender.permute(1, 2, 0, 3, 4).reshape(batch, tokens // self.ranks, self.ranks * heads, width)

    def _trade(self, by_receiver: Tensor) -> Tensor:
        equal = [1] * self.ranks
        return all_to_all_single_autograd(by_receiver.contiguous(), equal, equal, self.group)


class _GatherColumns(torch.autograd.Function):
    """Concatenation of all ranks' tensors along a new first dimension.

    Every rank computes the same loss from the whole, so its own part of the gradient is complete: the backward pass
    sends nothing.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: ProcessGroup) -> Tensor:
        ctx.rank = group.rank()
        parts = [torch.empty_like(own) for _ in range(group.size())]
        dist.all_gather(parts, own.contiguous(), group=group)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[0][ctx.rank].contiguous(), None


def gather_columns(own: Float[Tensor, "R k"], counts: list[int], group: ProcessGroup) -> Float[Tensor, "R K"]:
    """Concatenate the columns of all ranks, in the order of the ranks; counts[r] is the number of rank r.

    Compute the loss from them on every rank, and sum gradients over the ranks.
    """
    padded = torch.nn.functional.pad(own, (0, max(counts) - own.shape[1]))
    parts = _GatherColumns.apply(padded, group)
    return torch.cat([part[:, :count] for part, count in zip(parts, counts, strict=True)], dim=1)
