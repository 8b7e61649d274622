"""Validation inside training."""

from collections import defaultdict

from lightning import Callback, Trainer

from gmpo.evaluation.metrics import mean_at_k, pass_at_k
from gmpo.policy import PolicyModule
from gmpo.types import PromptBatch


class EvaluationCallback(Callback):
    """Validates before the first step and after the last, and logs val/SOURCE/mean@k and pass@k.

    k is the number of responses to each problem. solved_at: the reward that counts as solved in pass@k. The
    validations between are Lightning's own.
    """

    def __init__(self, solved_at: float = 1.0) -> None:
        self.solved_at = solved_at
        self._rewards: dict[str, list[list[float]]] = defaultdict(list)
        self._validated_at = -1  # rollout step of the last validation

    def on_train_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Where training starts from."""
        self._validate(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Where it ended, unless that was just validated."""
        if self._validated_at != pl_module.rollout_step:
            self._validate(trainer)

    def _validate(self, trainer: Trainer) -> None:
        """Run the validation loop as Lightning's training loop runs it."""
        if trainer.enable_validation:
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: PolicyModule,
        outputs: object,
        batch: PromptBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the rewards of the batch."""
        for group in batch.groups:
            self._rewards[group.prompt.source].append([rollout.reward for rollout in group.rollouts])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Log what the policy solved."""
        for source, rewards in self._rewards.items():
            k = len(rewards[0])
            solved = [pass_at_k(sum(reward >= self.solved_at for reward in group), len(group), k) for group in rewards]
            pl_module.log(f"val/{source}/mean@{k}", mean_at_k(rewards), sync_dist=True)
            pl_module.log(f"val/{source}/pass@{k}", sum(solved) / len(solved), sync_dist=True)
        pl_module.log("step", float(pl_module.rollout_step), sync_dist=True)
        self._rewards.clear()
        self._validated_at = pl_module.rollout_step
