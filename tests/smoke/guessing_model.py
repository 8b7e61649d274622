"""A model that has learned to answer any problem with a digit in a box, which one is chance: a reward to improve."""

from pathlib import Path

import torch
from conftest import SMALL, save
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from gmpo.models.tiny import ASSISTANT, END, USER, character_tokenizer

ENDINGS = ("<|im_start|>assistant\n", ASSISTANT)  # of data.template=qwen_math, and of the tokenizer's own
KINDS = {
    "qwen2": {"intermediate_size": 128, "num_key_value_heads": 2},
    "qwen3": {"intermediate_size": 128, "num_key_value_heads": 2, "head_dim": 32},
    "qwen3_moe": {
        "intermediate_size": 128,
        "moe_intermediate_size": 64,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "head_dim": 32,
        "norm_topk_prob": True,
    },
}
STEPS, BATCH, IGNORED = 150, 16, -100


def make_guessing_model(kind: str, folder: Path) -> str:
    """As small as can be, of a published architecture; learns in seconds, the same each time."""
    torch.manual_seed(0)
    settings = SMALL | {"vocab_size": len(character_tokenizer()), "initializer_range": 0.05} | KINDS[kind]
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, tie_word_embeddings=False, **settings))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        loss = _loss(model, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return save(model, folder)


def _loss(model: PreTrainedModel, generator: torch.Generator) -> torch.Tensor:
    """Of a digit in a box after text of whatever letters and length."""
    tokenizer = character_tokenizer()
    rows, lengths = [], []
    for row in range(BATCH):
        length = int(torch.randint(20, 120, (), generator=generator))
        letters = "".join(map(chr, torch.randint(32, 127, (length,), generator=generator).tolist()))
        digit = int(torch.randint(10, (), generator=generator))
        prompt = tokenizer(USER + letters + ENDINGS[row % len(ENDINGS)])["input_ids"]
        rows.append(prompt + tokenizer(f"\\boxed{{{digit}}}{END}")["input_ids"])
        lengths.append(len(prompt))
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    targets = torch.tensor(
        [[IGNORED] * n + row[n:] + [IGNORED] * (width - len(row)) for row, n in zip(rows, lengths, strict=True)]
    )
    logits = model(input_ids=ids).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=IGNORED)
