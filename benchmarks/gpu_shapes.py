"""Random models and sequences for benchmarks/gpu.py."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config

from gmpo.parallel.context_parallel import attention_name
from gmpo.types import Prompt, Response, Rollout

SHARES = (0.4, 0.3, 0.2, 0.1)  # of all tokens: responses differ in length
PROMPT_SHARE = 0.1  # of a sequence


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2 model (arXiv:2412.15115)."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool

    @property
    def matrix_parameters(self) -> int:
        """Parameters that each token is multiplied with; the embedding is looked up."""
        kv = self.hidden * self.kv_heads // self.heads
        layer = 2 * self.hidden**2 + 2 * self.hidden * kv + 3 * self.hidden * self.intermediate
        return self.layers * layer + self.hidden * self.vocabulary


SHAPES = {
    "1.5b": Shape("1.5b", 1536, 8960, 28, 12, 2, 151_936, tied=True),
    "7b": Shape("7b", 3584, 18_944, 28, 28, 4, 152_064, tied=False),
    "tiny": Shape("tiny", 64, 128, 2, 2, 1, 260, tied=True),
}
Sequences = list[tuple[Prompt, Rollout]]


def random_model(shape: Shape, attention: str, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """Return a model in training mode."""
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=32_768,
    )
    with device:
        model = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=attention_name(attention, None)
        )
    return model.train()


def random_sequences(shape: Shape, tokens: int) -> Sequences:
    """Return four sequences of different lengths with this many tokens in total; the same for the same arguments."""
    generator = torch.Generator().manual_seed(tokens)
    found: Sequences = []
    for number, share in enumerate(SHARES):
        length = round(tokens * share)
        ids = torch.randint(shape.vocabulary, (length,), generator=generator).tolist()
        first = max(1, round(length * PROMPT_SHARE))
        prompt = Prompt(number, "", "", ids[:first], "", "random")
        response = Response(ids[first:], [0.0] * (length - first), "", True)
        found.append((prompt, Rollout(response, 0.0, float((-1) ** number))))
    return found


def model_flops(shape: Shape, sequences: Sequence[tuple[Prompt, Rollout]]) -> float:
    """Return the FLOPs of forward and backward: 6 for each parameter and token, and attention to the tokens before.

    The head counts for response tokens alone, since only they need logits.
    """
    total = 0.0
    head = shape.hidden * shape.vocabulary
    for prompt, rollout in sequences:
        responses = len(rollout.response.token_ids)
        length = len(prompt.token_ids) + responses
        total += 6.0 * (shape.matrix_parameters - head) * length + 6.0 * head * responses
        total += 6.0 * shape.layers * shape.hidden * length**2
    return total
