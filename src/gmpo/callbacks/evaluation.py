"""Validation during training."""

from collections.abc import Sequence

from lightning import Trainer

from gmpo.callbacks.ordered import OrderedCallback
from gmpo.evaluation.metrics import ProblemMetrics, count_group
from gmpo.policy.module import PolicyModule
from gmpo.types import PromptBatch


class EvaluationCallback(OrderedCallback):
    """Validates before the first step and after the last; logs val/BENCHMARK/NAME for each of `ProblemMetrics`.

    samples, solved_at, pass_k: as there. Lightning runs the validations in between.
    """

    order = 40

    def __init__(self, samples: int, solved_at: float = 1.0, pass_k: Sequence[int] = ()) -> None:
        self.samples = samples
        self.solved_at = solved_at
        self.pass_k = pass_k
        self._metrics: dict[str, ProblemMetrics] = {}  # by benchmark
        self._validated_at = -1  # rollout step of the last validation

    def state_dict(self) -> dict[str, int]:
        """Return the step that was validated last."""
        return {"validated_at": self._validated_at}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore the step that was validated last."""
        self._validated_at = state_dict["validated_at"]

    def on_train_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Validate the starting point; in a resumed run, make up the validation due after its step."""
        step = pl_module.state.rollout_step
        if trainer.enable_validation and step % trainer.val_check_batch == 0 and self._validated_at != step:
            self._validate(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Validate the last step, unless that is done; not in a run that stopped early and may be resumed."""
        if self._validated_at != pl_module.state.rollout_step and pl_module.state.stop_reason is None:
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
        """Count this rank's groups; every rank has all benchmarks' metrics, since computing them is collective."""
        for name in dict.fromkeys(prompt.benchmark_name for prompt in batch.prompts):
            if name not in self._metrics:
                self._metrics[name] = ProblemMetrics(self.samples, self.pass_k, self.solved_at).to(pl_module.device)
        for group in batch.groups:
            count_group(self._metrics[group.prompt.benchmark_name], group)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Log the metrics of each benchmark."""
        for name, metrics in self._metrics.items():
            pl_module.log_dict({f"val/{name}/{metric}": value for metric, value in metrics.compute().items()})
        pl_module.log("step", float(pl_module.state.rollout_step), sync_dist=True)
        self._metrics.clear()
        self._validated_at = pl_module.state.rollout_step
