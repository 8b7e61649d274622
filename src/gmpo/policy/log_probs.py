"""Log-probabilities of response tokens under the policy."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gmpo.types import MicroBatch


def response_log_probs(
    model: nn.Module, batch: MicroBatch, temperature: float, entropy_gradient: bool = False
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Log-probability of each token in the micro-batch's last T columns, and the entropy it was drawn from.

    In nats. Differentiable in the log-probabilities, and in the entropy if asked to be. Padding stands on the right,
    where a causal model never looks, so no attention mask is needed; what comes out at padding is to be masked.
    """
    columns = batch.mask.shape[1]
    logits = model(input_ids=batch.token_ids, logits_to_keep=columns + 1, use_cache=False).logits[:, :-1]
    return token_log_probs(logits, batch.token_ids[:, -columns:], temperature, entropy_gradient)


def token_log_probs(
    logits: Float[Tensor, "B T V"], token_ids: Int[Tensor, "B T"], temperature: float, entropy_gradient: bool = False
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Log-softmax of logits/temperature at the given tokens, and the entropy of that distribution, in nats."""
    precision = torch.promote_types(logits.dtype, torch.float32)
    log_softmax = (logits.to(precision) / temperature).log_softmax(-1)
    log_probs = log_softmax.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1)
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        entropy = -(log_softmax.exp() * log_softmax).sum(-1)
    return log_probs, entropy
