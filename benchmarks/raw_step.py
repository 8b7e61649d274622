"""An update without the project: a plain transformers model, a plain loss, AdamW."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from same_work import LEARNING_RATE, MINI_BATCH_PROMPTS
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from gmpo.types import Group, Prompt, Rollout

BUDGETS = (1024, 2048, 4096, 8192)  # tokens of a micro-batch, padding included


@dataclass(frozen=True)
class Text:
    """A prompt with its response, as tokens."""

    token_ids: list[int]
    prompt_tokens: int
    advantage: float


@dataclass(frozen=True)
class Padded:
    """A micro-batch: token_ids int [B, N], mask bool [B, T] of response tokens in the last T columns."""

    token_ids: Tensor
    mask: Tensor
    advantages: Tensor

    def to(self, device: torch.device) -> "Padded":
        """Move to a device."""
        return Padded(self.token_ids.to(device), self.mask.to(device), self.advantages.to(device))


class RawUpdate:
    """Forward, backward and optimizer steps for a rollout step's responses, on a separate copy of the model."""

    def __init__(self, path: str, pad_token_id: int) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE)
        self.pad_token_id = pad_token_id
        self.budget: int | None = None  # the fastest, once it is known

    def seconds(self, groups: Sequence[Group]) -> tuple[float, float]:
        """Return the seconds of all passes, and of the optimizer's steps."""
        if self.budget is None:
            some = groups[:MINI_BATCH_PROMPTS]
            self._with(some, max(BUDGETS))  # for warm-up
            passes = {budget: self._with(some, budget)[0] for budget in BUDGETS}
            self.budget = min(passes, key=lambda budget: passes[budget])
        return self._with(groups, self.budget)

    def _with(self, groups: Sequence[Group], budget: int) -> tuple[float, float]:
        passes = optimizer = 0.0
        for start in range(0, len(groups), MINI_BATCH_PROMPTS):
            sequences = sequences_of(groups[start : start + MINI_BATCH_PROMPTS])
            micro_batches = [padded(part, self.pad_token_id) for part in by_budget(sequences, budget)]
            began = time.perf_counter()
            for batch in micro_batches:
                (plain_loss(self.model, batch) / len(sequences)).backward()
            passed = time.perf_counter()
            self.optimizer.step()
            self.optimizer.zero_grad()
            optimizer += time.perf_counter() - passed
            passes += passed - began
        return passes, optimizer


def sequences_of(groups: Sequence[Group]) -> list[Text]:
    """Return the sequences, the shortest first."""
    found = texts_of([(group.prompt, rollout) for group in groups for rollout in group.rollouts])
    return sorted(found, key=lambda sequence: len(sequence.token_ids))


def texts_of(sequences: Sequence[tuple[Prompt, Rollout]]) -> list[Text]:
    """Return each response behind its prompt."""
    return [
        Text([*prompt.token_ids, *rollout.response.token_ids], len(prompt.token_ids), rollout.advantage)
        for prompt, rollout in sequences
    ]


def by_budget(ascending: Sequence[Text], budget: int) -> Iterator[Sequence[Text]]:
    """Split into parts of neighbours, each with at most this many tokens when padded to its longest."""
    start = 0
    for end, sequence in enumerate(ascending):
        if end > start and (end - start + 1) * len(sequence.token_ids) > budget:
            yield ascending[start:end]
            start = end
    yield ascending[start:]


def padded(sequences: Sequence[Text], pad_token_id: int) -> Padded:
    """Pad on the right, where a causal model never looks."""
    width = max(len(sequence.token_ids) for sequence in sequences)
    first = min(sequence.prompt_tokens for sequence in sequences)
    token_ids = torch.full((len(sequences), width), pad_token_id)
    mask = torch.zeros((len(sequences), width), dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        token_ids[row, : len(sequence.token_ids)] = torch.tensor(sequence.token_ids)
        mask[row, sequence.prompt_tokens : len(sequence.token_ids)] = True
    return Padded(token_ids, mask[:, first:], torch.tensor([sequence.advantage for sequence in sequences]))


def plain_loss(model: nn.Module, batch: Padded) -> Tensor:
    """Return the policy gradient loss of mean log-probs, summed over sequences."""
    columns = batch.mask.shape[1]
    logits = model(input_ids=batch.token_ids, logits_to_keep=columns + 1, use_cache=False).logits[:, :-1]
    targets = batch.token_ids[:, -columns:].unsqueeze(-1)
    log_probs = logits.float().log_softmax(-1).gather(-1, targets).squeeze(-1)
    means = (log_probs * batch.mask).sum(-1) / batch.mask.sum(-1)
    return -(batch.advantages * means).sum()
