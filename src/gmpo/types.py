"""The data of a batch on its way from prompt to gradient."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gmpo.run.errors import LOGITS_NOT_FINITE, NonFiniteError


class Stage(StrEnum):
    """The purpose of generated responses. Seeds derive from these words, which must not change."""

    TRAIN = "train"
    VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One problem, templated and tokenised."""

    index: int  # place among the problems of its data set that are used
    question: str  # as the data set has it
    text: str  # after the template
    token_ids: list[int]
    answer: str  # what the reward compares a response with
    benchmark_name: str  # of the data set; validation metrics are named val/BENCHMARK_NAME/...


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings by which an engine draws responses."""

    max_tokens: int  # of the response, the end-of-sequence token included
    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 keeps every token
    stop: tuple[str, ...] = ()  # texts that end a response; the token that completes one is its last

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {self.max_tokens}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 (greedy) or above, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (off) or above, not {self.top_k}")
        if isinstance(self.stop, str) or not isinstance(self.stop, Sequence):
            raise ValueError(f'stop={self.stop} must be a list of texts, such as stop=["</answer>"]; [] is off')
        for text in self.stop:
            if not isinstance(text, str) or not text:
                raise ValueError(
                    f"stop={list(self.stop)} holds {text!r}: each entry must be a text of at least one character"
                )
        object.__setattr__(self, "stop", tuple(self.stop))  # whatever kind of list a config gives


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A request for one response. Two requests are never equal: they compare by identity."""

    prompt: Prompt
    seed: int  # decides the response, for the same prompt and weights
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Response:
    """An engine's response; its token ids are trained on as they are, never re-tokenised from text.

    Both sequences are kept as arrays, of 4 bytes a token. Raises NonFiniteError for log-probs that are not finite.
    """

    token_ids: Sequence[int]  # the end-of-sequence token, or those of a stop string, included
    log_probs: Sequence[float]  # of each token, under the distribution it was sampled from; float32
    text: str
    truncated: bool  # stopped by max_tokens, not by an end-of-sequence token or a stop string

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_ids", array("i", self.token_ids))
        object.__setattr__(self, "log_probs", array("f", self.log_probs))
        if not all(map(math.isfinite, self.log_probs)):
            raise NonFiniteError(
                f"{LOGITS_NOT_FINITE}. Check the tensors of the model's files by torch.isfinite; if all are finite, "
                "choose cluster.dtype=float32"
            )


@dataclass(slots=True)
class Rollout:
    """A scored response; per-token tensors hold one value for each of its T tokens, on the CPU."""

    response: Response
    reward: float
    advantage: float = 0.0
    penalty: float = 0.0  # taken off the reward for its length
    kl_penalty: float = 0.0  # taken off the reward for its distance from the reference
    in_loss: bool = True  # False: overlong filtering leaves it out
    old_log_probs: Float[Tensor, "T"] | None = None  # the behaviour policy's
    ref_log_probs: Float[Tensor, "T"] | None = None  # the reference's
    final_answer: str | None = None  # in one notation; "" without one, None if the reward reads none

    @property
    def shaped_reward(self) -> float:
        """The reward after penalties, from which the advantage is computed."""
        return self.reward - self.penalty - self.kl_penalty


@dataclass(slots=True)
class Group:
    """The responses to one prompt."""

    prompt: Prompt
    rollouts: list[Rollout]

    @property
    def zero_advantage(self) -> bool:
        """Whether nothing can be learned from the rewards: equal ones give every response an advantage of 0.

        A KL taken off the rewards does not count here. Nothing is learned either if a reward is not a finite number,
        or if every response is left out of the loss.
        """
        rewards = {rollout.reward - rollout.penalty for rollout in self.rollouts}
        differ = len(rewards) > 1 and all(map(math.isfinite, rewards))
        return not (differ and any(rollout.in_loss for rollout in self.rollouts))


@dataclass(slots=True)
class PromptBatch:
    """The prompts of one rollout step, of all ranks; the rollout callback fills in this rank's groups, in place."""

    prompts: list[Prompt]
    groups: list[Group] = field(default_factory=list)  # of the prompts that this rank's engine took
    discarded: list[Group] = field(default_factory=list)  # those that dynamic sampling replaced


@dataclass(slots=True)
class MicroBatch:
    """Sequences of one forward and backward pass, padded on the right.

    Per-token tensors cover only the last T of the S columns: from the first column in which any row predicts a
    response token. They are 0 outside the mask.
    """

    token_ids: Int[Tensor, "B S"]  # prompt and response
    lengths: Int[Tensor, "B"]  # of each row, without its padding
    mask: Bool[Tensor, "B T"]  # True on response tokens
    advantages: Float[Tensor, "B"]
    rollout_log_probs: Float[Tensor, "B T"]  # the engine's
    old_log_probs: Float[Tensor, "B T"] | None = None
    ref_log_probs: Float[Tensor, "B T"] | None = None

    def to(self, device: torch.device) -> MicroBatch:
        """Return the same micro-batch with its tensors on `device`."""
        return MicroBatch(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are set, by name."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}  # with slots, vars() is empty
        return {name: tensor for name, tensor in columns.items() if tensor is not None}


@dataclass(slots=True)
class MiniBatch:
    """The sequences of one optimizer step on one rank."""

    micro_batches: list[MicroBatch]
    zero_advantage: Bool[Tensor, "B T"]  # mask of the sequences that skip the model: their advantage is 0
    on_policy: bool = False  # its forward pass is the first since the rollout: it gives old log-probs and the gap

    def masks(self) -> list[Bool[Tensor, "B T"]]:
        """Return the masks of all sequences, those of advantage 0 too, to count the denominator from."""
        return [*(batch.mask for batch in self.micro_batches), self.zero_advantage]
