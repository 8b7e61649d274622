"""Log-probabilities from hidden states, a chunk of tokens at a time: the logits of all never exist together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Values = tuple[Float[Tensor, "B T"], Float[Tensor, "B T"] | None]  # log-probs, and entropy if it was asked for

LOGITS_AT_ONCE = 2**27  # half a GiB in float32


@dataclass(frozen=True)
class LogProbHead:
    """The head of a language model that gives log-probabilities of given tokens instead of logits.

    chunk: tokens whose logits exist at once, of all rows together; None: as many as make half a GiB of logits in
    float32. What fits into one chunk is kept for the backward pass; of several, each is computed again in it.
    """

    temperature: float
    with_entropy: bool
    chunk: int | None = None

    @contextmanager
    def in_place_of_logits(self, model: nn.Module, targets: Int[Tensor, "B T"]) -> Iterator[None]:
        """Within it the model returns, as its logits, the log-probs of `targets` and the entropy: float [B, T, 2].

        They are computed within the model's own forward pass, where FSDP has gathered the head's weight; without
        `with_entropy` the last dimension is 1.
        """
        head = model.get_output_embeddings()
        head_logits = head.forward
        head.forward = lambda hidden: self._values(head_logits, head.out_features, hidden, targets)
        try:
            yield
        finally:
            del head.forward

    def _values(
        self,
        logits: Callable[[Float[Tensor, "*B D"]], Float[Tensor, "*B V"]],
        vocabulary: int,
        hidden: Float[Tensor, "B T D"],
        targets: Int[Tensor, "B T"],
    ) -> Float[Tensor, "B T K"]:
        def of_chunk(hidden: Tensor, targets: Tensor) -> Tensor:
            log_probs, entropy = token_log_probs(logits(hidden), targets, self.temperature, self.with_entropy)
            return torch.stack([log_probs] if entropy is None else [log_probs, entropy], dim=-1)

        size = self.chunk or max(1, LOGITS_AT_ONCE // vocabulary)
        if targets.numel() <= size:
            return of_chunk(hidden, targets)
        chunks = zip(hidden.flatten(0, 1).split(size), targets.flatten().split(size), strict=True)
        if torch.is_grad_enabled():
            again = {"use_reentrant": False, "preserve_rng_state": False}  # nothing here is random
            values = [checkpoint(of_chunk, part, tokens, **again) for part, tokens in chunks]
        else:
            values = [of_chunk(part, tokens) for part, tokens in chunks]
        return torch.cat(values).unflatten(0, targets.shape).clone()  # FSDP2 wants no view


def token_log_probs(
    logits: Float[Tensor, "*B V"], token_ids: Int[Tensor, "*B"], temperature: float, with_entropy: bool = False
) -> Values:
    """Log-softmax of logits/temperature at the given tokens, and the entropy of that distribution, in nats."""
    precision = torch.promote_types(logits.dtype, torch.float32)
    log_softmax = (logits.to(precision) / temperature).log_softmax(-1)
    log_probs = log_softmax.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1)
    return log_probs, -(log_softmax.exp() * log_softmax).sum(-1) if with_entropy else None
