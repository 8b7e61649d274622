"""A callback that breaks the reward after some steps."""

from lightning import Callback, Trainer
from rewards_for_faults import Raises, RaisesAtOnce

from gmpo.callbacks import RolloutCallback
from gmpo.policy.module import PolicyModule
from gmpo.types import PromptBatch


class BreaksAfter(Callback):
    """From then on it is one that raises."""

    def __init__(self, step: int, at_once: bool = False) -> None:
        self.step, self.reward = step, RaisesAtOnce() if at_once else Raises()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        if pl_module.state.rollout_step == self.step:
            (rollout,) = [each for each in trainer.callbacks if isinstance(each, RolloutCallback)]
            rollout.collector.reward = self.reward
