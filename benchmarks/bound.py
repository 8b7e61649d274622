"""Compare a rollout step with its lower bound: `python benchmarks/bound.py [--size 1m] [override ...]`.

The step is the real trainer's, all of it: weights to vLLM, generation, rewards, log-probs, updates, metrics, files. Old
log-probs are the engine's, as in the quickstart; `policy.old_log_probs=trainer` adds the pass that this saves. The
bound, measured in the same process after each step, on the same requests and responses, is the sum of

- vLLM's own `LLM.generate` of the requests, with the same weights and seeds;
- forward and backward of the responses by a plain transformers model and a plain log-softmax, in each mini-batch sorted
  by length and split at the token budget that turns out fastest of `BUDGETS`;
- one AdamW step for each mini-batch.

Prints the ratio (median over steps), and which stage takes how much of the rest.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from lightning import Callback, Trainer
from our_side import prepared, response_tokens
from raw_step import RawUpdate
from results import hand_on, parser
from work import SIZES, make_model, same_work, write_problems

from gmpo.policy.module import PolicyModule
from gmpo.rollout.vllm import VLLMEngine, _parameters
from gmpo.types import Group, PromptBatch, Request, Response

STAGES = ("weight_sync", "generate", "reward", "exchange", "log_probs", "update")


class RememberingEngine(VLLMEngine):
    """A vLLM engine that can repeat its last generation without the project around it."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Generate, and remember the requests."""
        self.asked = requests
        return super().generate(requests)

    def generate_again(self) -> float:
        """Return the seconds of vLLM's own call."""
        requests = [{"prompt_token_ids": request.prompt.token_ids} for request in self.asked]
        parameters = [_parameters(request) for request in self.asked]
        llm = self._started()
        llm.reset_prefix_cache()
        began = time.perf_counter()
        llm.generate(requests, parameters, use_tqdm=False)
        return time.perf_counter() - began


class AgainstBound(Callback):
    """Callback that measures the bound between two rollout steps."""

    def __init__(self, engine: RememberingEngine, update: RawUpdate, steps: int) -> None:
        self.engine = engine
        self.update = update
        self.steps = steps
        self.measured: list[dict[str, float]] = []
        self._groups: list[Group] = []
        self._began = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PolicyModule, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Measure the previous step, now that it is fully logged; the engine still has its weights."""
        if self._groups:
            whole = time.perf_counter() - self._began
            self.measured.append(self._figures(whole, dict(pl_module.state.clock.seconds)))
        self._groups = []
        if len(self.measured) == self.steps:
            pl_module.state.stop("enough was measured")
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Remember what the bound must repeat."""
        self._groups = batch.groups

    def _figures(self, whole: float, stages: dict[str, float]) -> dict[str, float]:
        generate = self.engine.generate_again()
        passes, optimizer = self.update.seconds(self._groups)
        return {
            "step": whole,
            "bound": generate + passes + optimizer,
            "raw_generate": generate,
            "raw_forward_backward": passes,
            "raw_optimizer": optimizer,
            "tokens": float(response_tokens(self._groups)),
            **{stage: stages.get(stage, 0.0) for stage in STAGES},
            "other": whole - sum(stages.get(stage, 0.0) for stage in STAGES),
        }


def main() -> None:
    """Run, print and write the figures."""
    asked = parser(__doc__)
    asked.add_argument("--size", choices=SIZES, default="1m")
    asked.add_argument("--steps", type=int, default=5, help="rollout steps that count")
    asked.add_argument("--warm-up", type=int, default=2, help="rollout steps before, for warm-up")
    asked.add_argument("overrides", nargs="*")
    given = asked.parse_args()
    model = make_model(given.size)
    with tempfile.TemporaryDirectory() as folder:
        problems = Path(folder, "problems.jsonl")
        write_problems(problems)
        cfg = same_work(Path(folder), given.size, problems, *given.overrides)
        cfg.rollout.engine._target_ = f"{__name__}.RememberingEngine"
        training, rollout = prepared(cfg)
        measuring = AgainstBound(
            rollout.collector.engine.engine.engine,  # in what supervises it, and in what watches it
            RawUpdate(model, training.policy.pad_token_id),
            given.warm_up + given.steps,
        )
        training.trainer.callbacks.insert(0, measuring)
        training.run()
    steps = measuring.measured[given.warm_up :]
    ratio = median(step["step"] / step["bound"] for step in steps)
    medians = {name: median(step[name] for step in steps) for name in steps[0]}
    print_table(given.size, ratio, medians, measuring.update.budget, len(steps))
    raw = {"medians": medians, "steps": steps, "excess": excess(medians), "budget": measuring.update.budget}
    hand_on(given.json, {f"step_over_bound_{given.size}": ratio}, {f"step_over_bound_{given.size}": raw})


def excess(medians: dict[str, float]) -> dict[str, float]:
    """Return the seconds of each stage beyond its part of the bound."""
    raw_update = medians["raw_forward_backward"] + medians["raw_optimizer"]
    beyond = {stage: medians[stage] for stage in (*STAGES, "other")}
    return beyond | {
        "generate": medians["generate"] - medians["raw_generate"],
        "update": medians["update"] - raw_update,
    }


def print_table(size: str, ratio: float, medians: dict[str, float], budget: int | None, steps: int) -> None:
    """Print the ratio, and where the excess is."""
    parts = ", ".join(f"{name.removeprefix('raw_')} {medians[name]:.2f}" for name in medians if name.startswith("raw_"))
    print(f"{size}: step {medians['step']:.2f} s, bound {medians['bound']:.2f} s ({parts}; budget {budget} tokens)")
    print(f"ratio {ratio:.3f} (median of {steps} steps); seconds beyond the bound, and their share of it:")
    for stage, seconds in excess(medians).items():
        print(f"  {stage:<12} {seconds:7.3f} {seconds / medians['bound']:7.1%}")


if __name__ == "__main__":
    main()
