"""What the tests of every engine share: weights that moved, seeds, and the trainer's view of the responses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from gmpo.batching import pad_sequences
from gmpo.models.log_probs import response_log_probs
from gmpo.models.tiny import character_tokenizer
from gmpo.rollout.engine import Engine, request_seed
from gmpo.types import MicroBatch, Prompt, Response, Rollout, Sampling


def perturbed(folder: str, seed: int, size: float = 0.05) -> nn.Module:
    """The model of a folder after an imaginary update of every parameter."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return model


def check_handing_over(engine: Engine, prompts: Sequence[Prompt], sampling: Sampling) -> list[int]:
    """Each response is handed over once, as it is returned; the lengths in the order of handing over."""
    handed: list[tuple[tuple[int, int], Response]] = []

    def keep(place: int, number: int, response: Response) -> None:
        handed.append(((place, number), response))

    own = seeds(prompts, sampling)
    own[0] = own[0][:1]  # as many responses as seeds
    groups = engine.generate(prompts, sampling, own, keep)
    assert [len(group) for group in groups] == [len(s) for s in own]
    returned = {(place, number): r for place, group in enumerate(groups) for number, r in enumerate(group)}
    assert dict(handed) == returned
    assert len(handed) == len(returned)
    return [len(response.token_ids) for _, response in handed]


def check_stops(engine: Engine, prompts: Sequence[Prompt], sampling: Sampling) -> int:
    """A response ends with the token that completes a stop string, as sampled; returns how many ended so.

    The stop string is two characters that the first response with two in a row holds without one.
    """
    tokenizer, own = character_tokenizer(), seeds(prompts, sampling)
    whole = engine.generate(prompts, sampling, own)
    ids = [token for response in chain(*whole) for token in response.token_ids]
    pairs = [tokenizer.decode(pair) for pair in pairwise(ids[:-1])]
    stop = next(pair for pair in pairs if len(pair) == 2 and pair.isascii() and pair.isprintable())
    ended = 0
    stopping = engine.generate(prompts, replace(sampling, stop=("never there", stop)), own)
    for response, without in zip(chain(*stopping), chain(*whole), strict=True):
        beginnings = [without.token_ids[:length] for length in range(1, len(without.token_ids) + 1)]
        expected = next((ids for ids in beginnings if stop in tokenizer.decode(ids)), None)
        ended += expected is not None
        assert response.token_ids == (without.token_ids if expected is None else expected)
        assert response.log_probs == without.log_probs[: len(response.token_ids)]
        assert response.truncated == (without.truncated and expected is None)
    return ended


def poisoned(folder: str, name: str, value: float) -> list[tuple[str, Tensor]]:
    """A folder's weights, one number of one tensor replaced."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    weights = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    weights[name].view(-1)[5] = value
    return list(weights.items())


def seeds(prompts: Sequence[Prompt], sampling: Sampling, run_seed: int = 0) -> list[list[int]]:
    return [[request_seed(run_seed, "test", 0, p.index, i) for i in range(sampling.samples)] for p in prompts]


@dataclass(frozen=True)
class TrainerView:
    batch: MicroBatch
    log_probs: Tensor

    @property
    def gap(self) -> float:
        """The largest difference between engine and trainer over response tokens."""
        return float((self.log_probs - self.batch.rollout_log_probs)[self.batch.mask].abs().max())


@torch.no_grad()
def trainer_log_probs(
    model: nn.Module, prompts: Sequence[Prompt], groups: Sequence[Sequence[Response]], temperature: float
) -> TrainerView:
    sequences = [(p, Rollout(r, 0.0)) for p, group in zip(prompts, groups, strict=True) for r in group]
    batch = pad_sequences(sequences, pad_token_id=0)
    return TrainerView(batch, response_log_probs(model, batch, temperature)[0])
