"""A language model of about 1 M parameters that half knows arithmetic, for training on a laptop."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch.nn.functional import cross_entropy
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from gmpo.data.arithmetic import Problem, Split, make_problems
from gmpo.models.hugging_face import whole_folder

PAD, END, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
IGNORED = -100  # targets that cross_entropy leaves out


@dataclass(frozen=True)
class TinyModel:
    """Settings of the model and of its pretraining; each set of settings is trained once.

    Supervised training on worked arithmetic ends at the first check at which the model's sampled answers solve a
    fraction `target` of the validation problems: short of mastery, so that there is something left to learn.
    """

    kinds: Sequence[str]
    seed: int
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    positions: int = 4096
    initializer_range: float = 0.06  # at the usual 0.02 the same training takes three times as long
    batch: int = 32
    learning_rate: float = 2e-3
    warmup_steps: int = 30
    decay_steps: int = 800
    check_every: int = 10  # steps
    check_below_loss: float = 0.15  # no check above this loss: it would be slow, and nothing would be solved
    check_problems: int = 200
    target: float = 0.45
    max_steps: int = 1500
    threads: int = 2


def make_tiny_model(folder: str, **settings: Any) -> str:
    """Return the folder of the model and its tokenizer in the Hugging Face format; train the model if it is missing.

    folder: where models are kept, under names that depend on the settings (see `TinyModel`). The same settings give the
    same model.
    """
    wanted = TinyModel(**settings | {"kinds": tuple(settings["kinds"])})
    made_of = {"settings": asdict(wanted), "template": CHAT_TEMPLATE, "problems": _problems(wanted, "train", 20)}
    key = hashlib.blake2b(repr(made_of).encode(), digest_size=4).hexdigest()
    path = Path(folder, f"tiny-arithmetic-{key}")
    if not (path / "config.json").is_file():
        tokenizer = character_tokenizer()
        model = train(wanted, tokenizer)
        with whole_folder(path) as unfinished:
            model.save_pretrained(unfinished)
            tokenizer.save_pretrained(unfinished)
    return str(path)


def character_tokenizer() -> Qwen2Tokenizer:
    """Return Qwen2's tokenizer without merges: one token per byte, so per ASCII character, and special tokens.

    Its class is the one that transformers loads for a Qwen2 model, whatever class the folder names.
    """
    vocabulary = {token: i for i, token in enumerate([PAD, END, USER, ASSISTANT, *sorted(ByteLevel.alphabet())])}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        unk_token=None,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def train(settings: TinyModel, tokenizer: Qwen2Tokenizer) -> Qwen2ForCausalLM:
    """Train by next-token prediction on worked arithmetic until the target is reached."""
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = _untrained(settings, tokenizer)
        _fit(model, tokenizer, settings)
    torch.set_num_threads(threads)
    return model


def _untrained(settings: TinyModel, tokenizer: Qwen2Tokenizer) -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=3 * settings.hidden_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.positions,
        initializer_range=settings.initializer_range,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def _fit(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, settings: TinyModel) -> None:
    problems = _problems(settings, "train", settings.max_steps * settings.batch)
    held_out = _problems(settings, "validation", settings.check_problems)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95))
    losses: list[float] = []
    for step in range(1, settings.max_steps + 1):
        slope = min(step / settings.warmup_steps, max(0.1, 1 - step / settings.decay_steps))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * slope
        batch = problems[(step - 1) * settings.batch : step * settings.batch]  # in the order they were drawn
        losses.append(_train_step(model, optimizer, tokenizer, batch))
        recent = losses[-settings.check_every :]
        if step % settings.check_every == 0 and sum(recent) / len(recent) < settings.check_below_loss:
            solved = share_solved(model, tokenizer, held_out)
            print(f"tiny model: {step} steps, solves {solved:.2f} of {len(held_out)} problems", flush=True)
            if solved >= settings.target:
                return
    raise RuntimeError(
        f"the tiny model did not reach {settings.target} in {settings.max_steps} steps on {list(settings.kinds)}: "
        "choose easier kinds of problems by model.make.kinds"
    )


def _problems(settings: TinyModel, split: Split, count: int) -> list[Problem]:
    return make_problems(settings.kinds, count, split, settings.seed)


def _train_step(
    model: Qwen2ForCausalLM,
    optimizer: torch.optim.Optimizer,
    tokenizer: Qwen2Tokenizer,
    problems: Sequence[Problem],
) -> float:
    texts = [(_prompt(problem), problem.worked + END) for problem in problems]
    batch = tokenizer([prompt + worked for prompt, worked in texts], padding=True, return_tensors="pt")
    targets = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
    for row, prompt in enumerate(tokenizer([prompt for prompt, _ in texts])["input_ids"]):
        targets[row, : len(prompt)] = IGNORED
    logits = model(input_ids=batch["input_ids"]).logits[:, :-1]
    loss = cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=IGNORED)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


@torch.no_grad()
def share_solved(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, problems: Sequence[Problem]) -> float:
    """Return the fraction of problems whose sampled worked answer ends in the right number."""
    prompts = [_prompt(problem) for problem in problems]
    batch = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
    longest = max(len(problem.worked) for problem in problems) + 1
    output = model.eval().generate(**batch, do_sample=True, top_k=0, max_new_tokens=longest)
    model.train()
    texts = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    right = [text.rpartition(" = ")[2] == problem.answer for text, problem in zip(texts, problems, strict=True)]
    return sum(right) / len(right)


def _prompt(problem: Problem) -> str:
    return f"{USER}{problem.question}{ASSISTANT}"
