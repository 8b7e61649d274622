"""Log-probabilities of response tokens under the policy."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gmpo.types import MicroBatch


def response_log_probs(
    model: nn.Module, batch: MicroBatch, temperature: float, with_entropy: bool = False
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"] | None]:
    """Log-probability of each token in the micro-batch's last T columns, and the entropy it was drawn from if asked.

    In nats, differentiable. Padding stands on the right, where a causal model never looks, so no attention mask is
    needed; what comes out at padding is to be masked.
    """
    columns = batch.mask.shape[1]
    logits = model(input_ids=batch.token_ids, logits_to_keep=columns + 1, use_cache=False).logits[:, :-1]
    return token_log_probs(logits, batch.token_ids[:, -columns:], temperature, with_entropy)


def token_log_probs(
    logits: Float[Tensor, "B T V"], token_ids: Int[Tensor, "B T"], temperature: float, with_entropy: bool = False
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"] | None]:
    """Log-softmax of logits/temperature at the given tokens, and the entropy of that distribution, in nats."""
    precision = torch.promote_types(logits.dtype, torch.float32)
    log_softmax = (logits.to(precision) / temperature).log_softmax(-1)
    log_probs = log_softmax.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1)
    return log_probs, -(log_softmax.exp() * log_softmax).sum(-1) if with_entropy else None
