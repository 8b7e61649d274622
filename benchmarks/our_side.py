"""Our side of benchmarks/against_trl.py: rollout steps of the real trainer, one at a time."""

import os
import warnings
from argparse import ArgumentParser
from pathlib import Path

import torch
from lightning import Callback, Trainer
from omegaconf import DictConfig
from same_work import HALF, Turns
from work import same_work

from gmpo.callbacks import RolloutCallback
from gmpo.policy.module import PolicyModule
from gmpo.training import Training, prepare
from gmpo.types import Group, PromptBatch

REWARD = {"_target_": "same_work.Alternating"}


class TakeTurns(Callback):
    """Callback that makes each rollout step wait for its turn."""

    def __init__(self, turns: Turns, rollout: RolloutCallback) -> None:
        self.turns = turns
        self.rollout = rollout
        self.report: dict[str, object] = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PolicyModule, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Report the previous step, now that it is fully logged."""
        wanted = self.turns.take(self.report)
        if wanted is None:
            os._exit(0)  # nothing it leaves behind is needed
        self.rollout.collector.reward.silent = wanted == HALF

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Record the seconds of each stage, and what was generated."""
        self.report = {
            **pl_module.state.clock.seconds,
            "tokens": response_tokens(batch.groups),
            "threads": torch.get_num_threads(),
        }


def response_tokens(groups: list[Group]) -> int:
    """Return the number of tokens of all responses."""
    return sum(len(rollout.response.token_ids) for group in groups for rollout in group.rollouts)


def prepared(cfg: DictConfig) -> tuple[Training, RolloutCallback]:
    """Return a run that alternates rewards, and its rollout callback."""
    warnings.filterwarnings("ignore")
    cfg.reward = REWARD
    training = prepare(cfg)
    (rollout,) = [callback for callback in training.trainer.callbacks if isinstance(callback, RolloutCallback)]
    return training, rollout


def main() -> None:
    """Train until the other end stops the run."""
    given = ArgumentParser()
    for name in ("--turns", "--size", "--problems", "--folder"):
        given.add_argument(name, required=True)
    given.add_argument("overrides", nargs="*")
    asked = given.parse_args()
    cfg = same_work(Path(asked.folder), asked.size, Path(asked.problems), *asked.overrides)
    training, rollout = prepared(cfg)
    training.trainer.callbacks.insert(0, TakeTurns(Turns(asked.turns), rollout))
    training.run()


if __name__ == "__main__":
    main()
