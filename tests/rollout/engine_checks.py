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
from gmpo.types import MicroBatch, Prompt, Request, Response, Rollout, Sampling


def perturbed(folder: str, seed: int, size: float = 0.05) -> nn.Module:
    """The model of a folder after an imaginary update of every parameter."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return model


def check_handing_over(engine: Engine, prompts: Sequence[Prompt], sampling: Sampling, samples: int) -> list[int]:
    """Each request is answered once, with the response of its seed; the lengths in the order of handing over."""
    asked = requests(prompts, sampling, samples)[samples - 1 :]  # groups of different sizes
    handed = list(engine.generate(asked))
    assert len(handed) == len(asked)
    assert {request for request, _ in handed} == set(asked)
    again = {request.seed: response for request, response in engine.generate(asked[::-1])}
    assert all(again[request.seed].token_ids == response.token_ids for request, response in handed)
    return [len(response.token_ids) for _, response in handed]


def check_stops(engine: Engine, prompts: Sequence[Prompt], sampling: Sampling, samples: int) -> int:
    """A response ends with the token that completes a stop string, as sampled; returns how many ended so.

    The stop string is two characters that the first response with two in a row holds without one.
    """
    tokenizer = character_tokenizer()
    whole = generate(engine, prompts, sampling, samples)
    ids = [token for response in chain(*whole) for token in response.token_ids]
    pairs = [tokenizer.decode(pair) for pair in pairwise(ids[:-1])]
    stop = next(pair for pair in pairs if len(pair) == 2 and pair.isascii() and pair.isprintable())
    ended = 0
    stopping = generate(engine, prompts, replace(sampling, stop=("never there", stop)), samples)
    for response, without in zip(chain(*stopping), chain(*whole), strict=True):
        beginnings = [without.token_ids[:length] for length in range(1, len(without.token_ids) + 1)]
        expected = next((ids for ids in beginnings if stop in tokenizer.decode(list(ids))), None)
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


def requests(prompts: Sequence[Prompt], sampling: Sampling, samples: int = 1, run_seed: int = 0) -> list[Request]:
    """So many for each prompt, one prompt after the other."""
    return [
        Request(prompt, request_seed(run_seed, "test", 0, prompt.index, i), sampling)
        for prompt in prompts
        for i in range(samples)
    ]


def generate(
    engine: Engine, prompts: Sequence[Prompt], sampling: Sampling, samples: int = 1, run_seed: int = 0
) -> list[list[Response]]:
    """The responses to each prompt, in the order of their requests."""
    asked = requests(prompts, sampling, samples, run_seed)
    responses = dict(engine.generate(asked))
    return [[responses[request] for request in asked[i : i + samples]] for i in range(0, len(asked), samples)]


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
