"""Log-probabilities and entropies from hidden states and a head's weight, without all logits in memory at once.

With a vocabulary of 152 thousand, logits are the largest tensors of an update. Here a chunk of them is computed, used
and overwritten by the next. The forward pass folds chunks into the log-sum-exp of each token and, where the entropy is
wanted, into the mean of its logits (an online softmax, arXiv:1805.02867); the backward pass recomputes each chunk.
GMPO's gradient of a token depends on all of its sequence, so none can be computed during the forward pass.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from gmpo.models.chunks import Chunks, add_product

Values = tuple[Float[Tensor, "*B"], Float[Tensor, "*B"] | None]  # log-probs, and entropy if requested
Gradients = tuple[Float[Tensor, "N D"] | None, Float[Tensor, "V D"] | None, Float[Tensor, "V"] | None]


def linear_log_probs(
    hidden: Float[Tensor, "*B D"],
    weight: Float[Tensor, "V D"],
    bias: Float[Tensor, "V"] | None,
    token_ids: Int[Tensor, "*B"],
    temperature: float = 1.0,
    with_entropy: bool = False,
    max_logits_per_chunk: int | None = None,
) -> Values:
    """Return the log-softmax of (hidden weight^T + bias) / temperature at the given tokens, and the entropies.

    In nats, in float32 (float64 for float64), differentiable once in hidden, weight and bias; the entropy is None
    unless requested. max_logits_per_chunk: see `Chunks`. For the backward pass the arguments are kept, and two numbers
    for each token.
    """
    flat = (hidden.flatten(0, -2), weight, bias, token_ids.flatten())
    log_probs, entropy = _LinearLogProbs.apply(*flat, temperature, with_entropy, max_logits_per_chunk)
    shape = token_ids.shape
    return log_probs.view(shape), None if entropy is None else entropy.view(shape)


class _LinearLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Float[Tensor, "N D"],
        weight: Float[Tensor, "V D"],
        bias: Float[Tensor, "V"] | None,
        token_ids: Int[Tensor, "N"],
        temperature: float,
        with_entropy: bool,
        max_logits_per_chunk: int | None,
    ) -> Values:
        ctx.how = (temperature, max_logits_per_chunk)
        chunks = Chunks(hidden, weight, bias, token_ids, *ctx.how)
        log_probs, log_sum_exp, entropy = _folded(chunks, with_entropy)
        ctx.save_for_backward(hidden, weight, bias, token_ids, log_sum_exp, entropy)
        ctx.set_materialize_grads(False)
        return log_probs, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_log_probs: Tensor | None, of_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        *arguments, log_sum_exp, entropy = ctx.saved_tensors
        chunks = Chunks(*arguments, *ctx.how)
        g = chunks.full(0.0) if of_log_probs is None else of_log_probs
        gradients = _gradients(chunks, log_sum_exp, entropy, g, of_entropy, ctx.needs_input_grad[:3])
        return *gradients, None, None, None, None


def _folded(chunks: Chunks, with_entropy: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return log-prob, log-sum-exp of the logits and entropy of each token.

    Over the vocabulary so far, with z the logits: the greatest z; the total of exp(z - greatest); and the total of
    (z - greatest) exp(z - greatest), which is `weighted`.
    """
    greatest = chunks.full(torch.finfo(chunks.precision).min)
    total, weighted, at_target = chunks.full(0.0), chunks.full(0.0), chunks.full(0.0)
    for tokens in chunks.tokens:
        for vocab in chunks.vocab:
            logits = chunks.logits(tokens, vocab)
            column, there = chunks.targets_in(tokens, vocab)
            at_target[tokens] += torch.where(there, logits.gather(-1, column), 0).squeeze(-1)
            top = torch.maximum(greatest[tokens], logits.amax(-1).to(chunks.precision) / chunks.temperature)
            fall = greatest[tokens] - top
            below = chunks.shifted(logits, top)
            exp = chunks.exp(below) if with_entropy else below.exp_()
            if with_entropy:
                moved = (weighted[tokens] + total[tokens] * fall) * fall.exp()
                weighted[tokens] = moved + below.mul_(exp).sum(-1)
            total[tokens] = total[tokens] * fall.exp() + exp.sum(-1)
            greatest[tokens] = top
    log_total = total.log()
    log_probs = at_target / chunks.temperature - greatest - log_total
    return log_probs, greatest + log_total, log_total - weighted / total if with_entropy else None


def _gradients(
    chunks: Chunks,
    log_sum_exp: Float[Tensor, "N"],
    entropy: Float[Tensor, "N"] | None,
    g: Float[Tensor, "N"],
    h: Float[Tensor, "N"] | None,
    wanted: tuple[bool, bool, bool],
) -> Gradients:
    """Return the gradients of hidden states, weight and bias, from g of the log-probs and h of the entropies.

    The gradient of the logit of a word with probability p is (g (1[word is the target] - p) - h p (log p + entropy)) /
    temperature. Chunks add up in float32 or wider. A row of the weight gets its gradient from all tokens before the
    next chunk of the vocabulary begins, so that no wide copy of the whole is needed.
    """
    weight, bias = chunks.weight, chunks.bias
    of_hidden = torch.zeros_like(chunks.hidden, dtype=chunks.precision) if wanted[0] else None
    of_weight = torch.empty_like(weight) if wanted[1] else None
    of_bias = torch.empty_like(bias) if bias is not None and wanted[2] else None
    g = g / chunks.temperature
    h = None if h is None else h / chunks.temperature
    for vocab in chunks.vocab:
        rows = None if of_weight is None else chunks.sums_of(of_weight[vocab])
        sums = None if of_bias is None else chunks.sums_of(of_bias[vocab])
        for tokens in chunks.tokens:
            log_p = chunks.shifted(chunks.logits(tokens, vocab), log_sum_exp[tokens])
            if h is None or entropy is None:
                of_logits = log_p.exp_().mul_(-g[tokens, None])
            else:
                of_logits = chunks.exp(log_p)
                constant = -g[tokens] - h[tokens] * entropy[tokens]
                of_logits *= torch.addcmul(constant[:, None], log_p, -h[tokens, None], out=log_p)
            column, there = chunks.targets_in(tokens, vocab)
            of_logits.scatter_add_(-1, column, torch.where(there, g[tokens, None], 0))
            if sums is not None:
                sums += of_logits.sum(0)
            factor = chunks.as_product(of_logits)
            if rows is not None:
                add_product(rows, factor.t(), chunks.hidden[tokens])
            if of_hidden is not None:
                add_product(of_hidden[tokens], factor, weight[vocab])
        if of_weight is not None:
            of_weight[vocab] = rows
        if of_bias is not None:
            of_bias[vocab] = sums
    return None if of_hidden is None else of_hidden.to(chunks.hidden.dtype), of_weight, of_bias
