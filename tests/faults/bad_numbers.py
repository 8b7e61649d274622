"""Callbacks that make a loss or a weight not a number, at chosen moments."""

import torch
from lightning import Callback, Trainer

from gmpo.parallel.collectives import rank
from gmpo.policy.module import PolicyModule


class NotANumber(Callback):
    """In the updates of the rollout steps from `begin` until before `until`, on rank `on_rank`."""

    def __init__(self, begin: int, until: int, on_rank: int = 0) -> None:
        self.begin, self.until, self.on_rank = begin, until, on_rank

    def setup(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        loss = pl_module.loss

        def poisoned(*args: object) -> object:
            value = loss(*args)
            bad = self.begin <= pl_module.state.rollout_step < self.until and rank() == self.on_rank
            return value * float("nan") if bad else value

        class Poisoned:
            """The loss with another call."""

            def __getattr__(self, name: str) -> object:
                return getattr(loss, name)

            def __call__(self, *args: object) -> object:
                return poisoned(*args)

        pl_module.loss = Poisoned()


class NaNWeight(Callback):
    """In the norm after the last block, at the end of a rollout step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, pl_module: PolicyModule, *_: object) -> None:
        if pl_module.state.rollout_step == self.step:
            with torch.no_grad():
                weights = dict(pl_module.model.named_parameters())
                weights["model.norm.weight"].fill_(torch.nan)
