"""A callback that stops training as Lightning's own callbacks do."""

from lightning import Callback, Trainer

from gmpo.policy.module import PolicyModule
from gmpo.types import PromptBatch


class StopsAt(Callback):
    """At the end of rollout step `step`."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        if pl_module.state.rollout_step == self.step:
            trainer.should_stop = True
