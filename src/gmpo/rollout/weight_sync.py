"""The policy's weights as an engine expects them."""

from collections.abc import Iterable, Iterator

from torch import Tensor

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


def with_tied_head(weights: Iterable[tuple[str, Tensor]], tied: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield the shared tensor under both names if embedding and head are tied.

    A model lists a tied tensor once, under the embedding's name; an engine that gets only that keeps its old head and
    samples from a mixture of two policies.
    """
    for name, tensor in weights:
        yield name, tensor
        if tied and name == EMBEDDING:
            yield HEAD, tensor
