"""The nouns of the project: what a batch holds on its way from prompt to gradient."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prompt:
    """One problem, templated and tokenised."""

    index: int  # its row in the data set
    question: str  # as the data set has it
    text: str  # after the template
    token_ids: list[int]
    answer: str  # what the reward compares a response with
    source: str  # the data set's name; validation metrics are named val/SOURCE/...


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an engine draws responses."""

    max_tokens: int  # of the response, the end-of-sequence token included
    samples: int = 1  # responses for each prompt
    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 keeps every token

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.samples < 1:
            raise ValueError(f"max_tokens and samples must be at least 1, not {self.max_tokens}, {self.samples}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 (greedy) or above, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (off) or above, not {self.top_k}")


@dataclass(frozen=True, slots=True)
class Response:
    """What an engine returned: the token ids are trained on as they are, never re-tokenised from text."""

    token_ids: list[int]  # the end-of-sequence token included
    log_probs: list[float]  # of each token, under the distribution it was sampled from
    text: str
    truncated: bool  # stopped by max_tokens, not by the end-of-sequence token


@dataclass(slots=True)
class Rollout:
    """A scored response."""

    response: Response
    reward: float
    advantage: float = 0.0


@dataclass(slots=True)
class Group:
    """The responses to one prompt."""

    prompt: Prompt
    rollouts: list[Rollout]


@dataclass(slots=True)
class PromptBatch:
    """The prompts of one rollout step; the rollout callback fills in the groups, in place."""

    prompts: list[Prompt]
    groups: list[Group] = field(default_factory=list)


@dataclass(slots=True)
class MicroBatch:
    """Sequences of one forward and backward pass, padded on the right.

    Per-token tensors cover only the last T of the S columns: from the first column in which
    any row predicts a response token.
    """

    token_ids: Int[Tensor, "B S"]  # prompt and response
    mask: Bool[Tensor, "B T"]  # True on response tokens
    rollout_log_probs: Float[Tensor, "B T"]  # the engine's
    advantages: Float[Tensor, "B"]
    old_log_probs: Float[Tensor, "B T"] | None = None  # the trainer's, before the first update

    def to(self, device: torch.device) -> MicroBatch:
        """The same micro-batch with its tensors on `device`."""
        return MicroBatch(
            token_ids=self.token_ids.to(device),
            mask=self.mask.to(device),
            rollout_log_probs=self.rollout_log_probs.to(device),
            advantages=self.advantages.to(device),
            old_log_probs=None if self.old_log_probs is None else self.old_log_probs.to(device),
        )
