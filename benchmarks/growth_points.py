"""Time an update and a generation for models and batches of given sizes; for benchmarks/growth.py."""

import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.utils.data import DataLoader
from transformers import Qwen2Config, Qwen2ForCausalLM
from work import composed

from gmpo.cli.console import configure_logging
from gmpo.models.tiny import character_tokenizer
from gmpo.policy.module import PolicyModule
from gmpo.rollout import Engine
from gmpo.types import Group, Prompt, PromptBatch, Request, Response, Rollout, Sampling

PROMPTS, PROMPT_TOKENS = 8, 12
LAYERS, HEAD_WIDTH = 4, 32
THREADS = 1
FIRST_BYTE = 4  # token ids below are special ones


@dataclass(frozen=True)
class Point:
    """One model and one batch of `PROMPTS` prompts."""

    response: int = 32  # tokens
    group: int = 8  # responses to a prompt
    vocabulary: int = 1024
    hidden: int = 128

    @property
    def model(self) -> tuple[int, int]:
        """The sizes that determine the model."""
        return self.vocabulary, self.hidden

    @property
    def parameters(self) -> int:
        """Parameters that multiply each token: four square matrices, three for a layer three times as wide, and the
        head.
        """
        return LAYERS * 13 * self.hidden**2 + self.vocabulary * self.hidden

    @property
    def work(self) -> float:
        """Multiplications in a forward pass of all sequences; scores and averages of half of all pairs of tokens."""
        tokens = PROMPT_TOKENS + self.response
        return PROMPTS * self.group * (tokens * self.parameters + LAYERS * self.hidden * tokens**2)


class TimedUpdates(PolicyModule):
    """Policy module that times updates of batches of given sizes; the log-prob pass before them is not counted."""

    rounds = 1
    points: Sequence[Point] = ()

    def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Update on one batch for each point."""
        self.seconds = {}
        for point in self.points:
            groups = random_groups(point)
            self.old_log_probs.fill(groups)
            took = []
            for _ in range(1 + self.rounds):
                began = time.perf_counter()
                for mini_batch in self.old_log_probs.mini_batches(groups):
                    self.update(mini_batch)
                took.append(time.perf_counter() - began)
            self.seconds[point] = median(took[1:])


def measured(points: Sequence[Point], rounds: int) -> dict[Point, dict[str, float]]:
    """Return seconds by point and stage, one model after the other."""
    configure_logging()
    warnings.filterwarnings("ignore")
    by_model: dict[tuple[int, int], list[Point]] = defaultdict(list)
    for point in points:
        by_model[point.model].append(point)
    found: dict[Point, dict[str, float]] = {}
    for own in by_model.values():
        with tempfile.TemporaryDirectory() as folder:
            save_random_model(own[0], folder)
            cfg = config(folder, own)
            torch.set_num_threads(THREADS)
            updates = update_seconds(cfg, own, rounds)
            generations = generation_seconds(instantiate(cfg.rollout.engine), own, rounds)
            found |= {point: {"update": updates[point], "generate": generations[point]} for point in own}
    return found


def save_random_model(point: Point, folder: str) -> None:
    """Save a random model with its tokenizer, in the Hugging Face format."""
    tokenizer = character_tokenizer()
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=point.vocabulary,
        hidden_size=point.hidden,
        intermediate_size=3 * point.hidden,
        num_hidden_layers=LAYERS,
        num_attention_heads=point.hidden // HEAD_WIDTH,
        num_key_value_heads=point.hidden // HEAD_WIDTH,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def config(folder: str, points: Sequence[Point]) -> Any:
    """Return the config of a run whose whole batch is one mini-batch."""
    longest = max(point.response for point in points)
    return composed(
        [
            *("model=local", f"model.path={folder}", f"data.max_prompt_tokens={PROMPT_TOKENS}"),
            *(f"sampling.max_tokens={longest}", f"batch.prompts={PROMPTS}", f"batch.mini_batch_prompts={PROMPTS}"),
            f"cluster.threads={THREADS}",
        ]
    )


def update_seconds(cfg: Any, points: Sequence[Point], rounds: int) -> dict[Point, float]:
    """Time updates through the real Trainer."""
    settings = {"_target_": f"{__name__}.TimedUpdates", "old_log_probs": "trainer"}  # no engine made the responses
    policy = instantiate(OmegaConf.merge(cfg.policy, settings), pad_token_id=character_tokenizer().pad_token_id)
    policy.points, policy.rounds = points, rounds
    trainer = instantiate(cfg.trainer, logger=False, callbacks=[], limit_val_batches=0, val_check_interval=None)
    trainer.fit(policy, DataLoader([PromptBatch([], [])], batch_size=None))
    return policy.seconds


def generation_seconds(engine: Engine, points: Sequence[Point], rounds: int) -> dict[Point, float]:
    """Time generation with vLLM as the trainer calls it."""
    engine.start()
    found = {}
    for point in points:
        prompts = [prompt_of(number, point) for number in range(PROMPTS)]
        sampling = Sampling(max_tokens=point.response)
        took = []
        for number in range(1 + rounds):
            requests = [
                Request(prompt, (number * PROMPTS + place) * 1000 + i, sampling)
                for place, prompt in enumerate(prompts)
                for i in range(point.group)
            ]
            began = time.perf_counter()
            list(engine.generate(requests))
            took.append(time.perf_counter() - began)
        found[point] = median(took[1:])
    engine.close()
    return found


def prompt_of(number: int, point: Point) -> Prompt:
    """Return a prompt of random tokens."""
    return Prompt(number, "", "", random_tokens(PROMPT_TOKENS, point), "", "random")


def random_tokens(count: int, point: Point) -> list[int]:
    """Return random tokens, none of them special."""
    return torch.randint(FIRST_BYTE, point.vocabulary, (count,)).tolist()


def random_groups(point: Point) -> list[Group]:
    """Return groups that all carry a signal."""
    groups = []
    for number in range(PROMPTS):
        rollouts = []
        for place in range(point.group):
            ids = random_tokens(point.response, point)
            rollouts.append(Rollout(Response(ids, [0.0] * len(ids), "", True), 0.0, float((-1) ** place)))
        groups.append(Group(prompt_of(number, point), rollouts))
    return groups
