"""A replacement of a model's head that returns log-probabilities of given tokens instead of logits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gmpo.models.chunked_log_probs import linear_log_probs


@dataclass(frozen=True)
class LogProbHead:
    """Replacement of a model's head; see `linear_log_probs`."""

    temperature: float
    with_entropy: bool
    max_logits_per_chunk: int | None = None

    @contextmanager
    def in_place_of_logits(self, model: nn.Module, targets: Int[Tensor, "B T"]) -> Iterator[None]:
        """Make the model return, as its logits, log-probs of `targets` and the entropy: float [B, T, 2].

        They are computed within the model's own forward pass, where FSDP has gathered the head's weight; without
        `with_entropy` the last dimension is 1.
        """
        head = linear_head(model)
        head.forward = lambda hidden: self._values(head, hidden, targets)
        try:
            yield
        finally:
            del head.forward

    def _values(
        self, head: nn.Linear, hidden: Float[Tensor, "B T D"], targets: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T K"]:
        how = (self.temperature, self.with_entropy, self.max_logits_per_chunk)
        log_probs, entropy = linear_log_probs(hidden, head.weight, head.bias, targets, *how)
        return torch.stack([log_probs] if entropy is None else [log_probs, entropy], dim=-1)  # FSDP2 wants no view


@contextmanager
def given_logits(model: nn.Module, logits: Float[Tensor, "V"]) -> Iterator[None]:
    """Make the head return the same logits for each token, whatever its input."""
    head = linear_head(model)
    head.forward = lambda hidden: logits.repeat(*hidden.shape[:-1], 1)
    try:
        yield
    finally:
        del head.forward


def linear_head(model: nn.Module) -> nn.Linear:
    """Return the head; raise ValueError unless it is an nn.Linear, whose weight gives the logits."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or type(head).forward is not nn.Linear.forward:
        raise ValueError(
            f"the head of {type(model).__name__} is a {type(head).__name__}, and log-probs are computed from the "
            "weight of an nn.Linear: take a model with a plain head"
        )
    return head
