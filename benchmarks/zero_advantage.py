"""Measure what the zero-advantage skip saves: `python benchmarks/zero_advantage.py [--json FILE] [override ...]`.

Updates the quickstart's model on one batch (its prompts, worked answers as responses) in which the advantages of every
other group are 0, with the skip and without, in turns. Prints the seconds of an update (all mini-batches of the batch,
optimizer steps included), their ratio, and the largest difference of the gradient in float64.
"""

import time
import warnings
from dataclasses import replace
from statistics import median

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from results import hand_on, parser
from torch import Tensor
from torch.utils.data import DataLoader
from work import composed

from gmpo.data.arithmetic import make_problems
from gmpo.data.templates import render
from gmpo.models.tiny import character_tokenizer
from gmpo.policy.module import PolicyModule
from gmpo.training import configure_logging
from gmpo.types import Group, MiniBatch, Prompt, PromptBatch, Response, Rollout

ROUNDS = 5


class Comparison(PolicyModule):
    """The gradient with and without the skip, then the time of an update in float32."""

    def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Update in turns, so that both see the same load."""
        self.old_log_probs.fill(batch.groups)
        self.seconds: dict[bool, list[float]] = {True: [], False: []}
        self.gradients: dict[bool, list[Tensor]] = {}
        for skip in (True, False):
            self.skip(skip)
            (whole, *_) = self.old_log_probs.mini_batches(batch.groups)
            self.gradients[skip] = self.gradient(whole)
        for _ in range(ROUNDS if self.pretrained.dtype == "float32" else 0):
            for skip in (True, False):
                self.skip(skip)
                began = time.perf_counter()
                for mini_batch in self.old_log_probs.mini_batches(batch.groups):
                    self.update(mini_batch)
                self.seconds[skip].append(time.perf_counter() - began)

    def skip(self, skip: bool) -> None:
        """Set whether responses of advantage 0 are left out from now on."""
        distribute = self.old_log_probs.distribute
        config = replace(distribute.config, skip_zero_advantage=skip)
        self.old_log_probs = replace(self.old_log_probs, distribute=replace(distribute, config=config))

    def gradient(self, mini_batch: MiniBatch) -> list[Tensor]:
        """Return the gradient of one mini-batch, before any update."""
        self.update.accumulate_gradient(mini_batch, self.loss.count(mini_batch))
        gradients = [p.grad.clone() for p in self.model.parameters()]
        self.optimizers().zero_grad()
        return gradients


def main() -> None:
    """Measure in float32, compare in float64, print."""
    asked = parser(__doc__)
    asked.add_argument("overrides", nargs="*")
    given = asked.parse_args()
    configure_logging()
    warnings.filterwarnings("ignore", ".*no `val_dataloader`.*")
    cfg = composed(given.overrides)
    torch.set_num_threads(cfg.cluster.threads)
    cfg.model.path = cfg.model.path or instantiate(cfg.model.make)
    timed = compared(cfg, "float32")
    on, off = median(timed.seconds[True]), median(timed.seconds[False])
    exact = compared(cfg, "float64")
    pairs = list(zip(exact.gradients[True], exact.gradients[False], strict=True))
    largest = max(gradient.abs().max().item() for _, gradient in pairs)
    difference = max((one - other).abs().max().item() for one, other in pairs)
    print(f"update of {cfg.batch.prompts} x {cfg.batch.group_size} responses, half of the groups with zero advantage")
    print(f"without the skip  {off:.3f} s (median of {ROUNDS})")
    print(f"with the skip     {on:.3f} s")
    print(f"ratio             {on / off:.3f}")
    print(f"gradient: largest element {largest:.3e}, largest difference {difference:.1e} (float64)")
    raw = {"with_skip": timed.seconds[True], "without": timed.seconds[False], "difference": difference}
    hand_on(given.json, {"zero_advantage_update_ratio": on / off}, raw)


def compared(cfg: DictConfig, dtype: str) -> Comparison:
    """Run both updates through the real Trainer."""
    settings = {
        "_target_": f"{__name__}.Comparison",
        "pretrained": {"dtype": dtype},
        "old_log_probs": "trainer",  # no engine made these responses
    }
    policy = instantiate(OmegaConf.merge(cfg.policy, settings), pad_token_id=character_tokenizer().pad_token_id)
    trainer = instantiate(cfg.trainer, logger=False, callbacks=[], limit_val_batches=0, val_check_interval=None)
    trainer.fit(policy, DataLoader([PromptBatch([], half_zero_advantage(cfg))], batch_size=None))
    return policy


def half_zero_advantage(cfg: DictConfig) -> list[Group]:
    """Return groups of worked answers; in every other one the advantages are 0."""
    tokenizer = character_tokenizer()
    problems = make_problems(cfg.data.kinds, cfg.batch.prompts * cfg.batch.group_size, "train", 0)
    groups = []
    for index in range(cfg.batch.prompts):
        question = problems[index * cfg.batch.group_size].question
        text = render(question, cfg.data.template, tokenizer)
        prompt = Prompt(index, question, text, tokenizer(text)["input_ids"], "", "arithmetic")
        rollouts = []
        for i in range(cfg.batch.group_size):
            worked = problems[index * cfg.batch.group_size + i].worked
            ids = [*tokenizer(worked)["input_ids"], tokenizer.eos_token_id]
            advantage = float((-1) ** i) if index % 2 else 0.0
            rollouts.append(Rollout(Response(ids, [0.0] * len(ids), worked, False), 0.0, advantage))
        groups.append(Group(prompt, rollouts))
    return groups


if __name__ == "__main__":
    main()
