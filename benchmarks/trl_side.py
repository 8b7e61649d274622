"""TRL's side of benchmarks/against_trl.py; runs in the environment that trl_environment.py makes.

TRL's GMPO trainer with vLLM in its own process ("colocate"), at its defaults except for what the work itself decides,
float32, no activation checkpointing (ours uses none either), and two changes without which it does not run on a CPU:
vLLM gets dtype and enforce_eager, and weights go through vLLM's own `reload_weights`, because TRL's
`model.load_weights` finds no plain weights where vLLM has packed them for oneDNN.
"""

import json
import os
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from same_work import (
    GRADIENT_CLIP,
    GROUP_SIZE,
    HALF,
    LEARNING_RATE,
    MAX_PROMPT_TOKENS,
    MAX_TOKENS,
    MINI_BATCH_PROMPTS,
    PROMPTS,
    THREADS,
    Alternating,
    Turns,
)

os.environ |= {  # as ours, see gmpo/rollout/vllm.py
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}

MICRO_BATCH = 32  # sequences; it was quicker with it than with 16, 64 or 128 (docs/log.md)
MINI_BATCHES = PROMPTS // MINI_BATCH_PROMPTS


def main() -> None:
    """Train until the other end stops the run."""
    given = ArgumentParser()
    for name in ("--turns", "--size", "--model", "--problems", "--folder"):
        given.add_argument(name, required=True)
    given.add_argument("--micro-batch", type=int, default=MICRO_BATCH, help="sequences per micro-batch")
    asked = given.parse_args()

    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.experimental.gmpo import GMPOConfig, GMPOTrainer
    from trl.generation import vllm_generation

    run_on_a_cpu(vllm_generation)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}  # several may run on one machine
    reward = Alternating()
    set_num_threads = torch.set_num_threads  # vLLM puts a stub in its place

    def score(completions: list[str], answer: list[str], **_: object) -> list[float]:
        return reward.score(completions, answer)

    class TakeTurns(TrainerCallback):
        """Callback that takes turns; a rollout step is one of TRL's steps for each mini-batch."""

        turns = Turns(asked.turns)

        def on_step_begin(self, args: object, state: Any, control: object, **_: object) -> None:
            if state.global_step % MINI_BATCHES:
                return
            wanted = self.turns.take({"tokens": trainer.response_tokens, "threads": torch.get_num_threads()})
            if wanted is None:
                os._exit(0)  # nothing it leaves behind is needed
            reward.silent = wanted == HALF

    class Counted(GMPOTrainer):
        """Trainer that counts the response tokens of the newest rollout step."""

        response_tokens: int = 0

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            output = super()._generate_and_score_completions(inputs)
            self.response_tokens = int(output["completion_mask"].sum())
            return output

    problems = [json.loads(line) for line in Path(asked.problems).read_text().splitlines()]
    settings = GMPOConfig(
        output_dir=asked.folder,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        model_init_kwargs={"dtype": "float32"},
        use_vllm=True,
        vllm_mode="colocate",
        vllm_max_model_length=MAX_PROMPT_TOKENS + MAX_TOKENS,
        num_generations=GROUP_SIZE,
        max_completion_length=MAX_TOKENS,
        per_device_train_batch_size=asked.micro_batch,
        gradient_accumulation_steps=MINI_BATCH_PROMPTS * GROUP_SIZE // asked.micro_batch,
        generation_batch_size=PROMPTS * GROUP_SIZE,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=GRADIENT_CLIP,
        max_steps=1_000_000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    data = Dataset.from_list([{"prompt": row["prompt"], "answer": row["answer"]} for row in problems])
    trainer = Counted(asked.model, score, args=settings, train_dataset=data, callbacks=[TakeTurns()])
    set_num_threads(THREADS[asked.size])
    trainer.train()
    sys.exit("error: TRL ended by itself")


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port: int = own.getsockname()[1]
        return port


def run_on_a_cpu(module: Any) -> None:
    """Make the two changes described above: the engine's dtype, and how weights are loaded."""
    module.LLM = partial(module.LLM, dtype="float32", enforce_eager=True)

    def sync_weights(self: Any) -> None:
        def weights() -> Iterator[tuple[str, Any]]:
            for name, parameter in self._iter_named_params():
                yield name, parameter
                if name == "model.embed_tokens.weight":  # the head is tied to it
                    yield "lm_head.weight", parameter

        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights()})
        self.llm.reset_prefix_cache()

    module.VLLMGeneration.sync_weights = sync_weights


if __name__ == "__main__":
    main()
