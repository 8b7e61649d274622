"""The protocol of engines, and the seeds of their requests."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from torch import Tensor

from gmpo.types import Request, Response

ASLEEP = -1  # the policy_version of an engine without weights


class Engine(Protocol):
    """Generates responses with weights that the trainer hands over.

    An engine of several ranks (tensor_parallel) is called on each of them with the same arguments, and yields the same
    responses there. Each rank must iterate to the end.
    """

    tensor_parallel: int  # consecutive ranks that it spans

    @property
    def policy_version(self) -> int:
        """The optimizer step that its weights come from; 0: the model as loaded, ASLEEP: no weights."""
        ...

    def start(self) -> None:
        """Load the model. Everything heavy happens here, nothing in the constructor."""
        ...

    def load_weights(self, weights: Iterable[tuple[str, Tensor]], policy_version: int) -> None:
        """Replace the weights by these, under transformers' names; the iterable is consumed once."""
        ...

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Yield the response to each request as soon as it is finished, while others are still generated.

        The same seed, prompt and weights give the same response, whatever else is in the batch. A response ends at an
        end token, at the token that completes one of `sampling.stop` (both are kept), or after `sampling.max_tokens`.
        """
        ...

    def sleep(self) -> None:
        """Free the GPU's memory for the update, weights included; the next call is `load_weights`."""
        ...

    def close(self) -> None:
        """End the engine and every process that it started."""
        ...


def request_seed(run_seed: int, purpose: str, rollout_step: int, prompt: int, response: int) -> int:
    """Return the seed of one request, in [0, 2^31): a hash of its place in the run."""
    place = f"{run_seed}/{purpose}/{rollout_step}/{prompt}/{response}".encode()
    return int.from_bytes(hashlib.blake2b(place, digest_size=4).digest(), "big") >> 1
