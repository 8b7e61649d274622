"""What the updates of one rollout step looked like."""

from typing import Literal

import torch
from torch import Tensor, nn
from torchmetrics import MaxMetric, MeanMetric, Metric, MinMetric

from gmpo.objectives.kl import kl_estimate
from gmpo.objectives.objective import Objective, log_ratios
from gmpo.types import MicroBatch

MEANS = ("entropy", "kl_old", "log_ratio_mean", "clip_fraction", "loss", "grad_norm")
NAN: Literal["disable"] = "disable"  # a NaN is to be seen, not left out of the mean


class UpdateMetrics(nn.Module):
    """Metrics over the response tokens of all mini-batches of a rollout step, and over its optimizer steps."""

    def __init__(self) -> None:
        super().__init__()
        metrics: dict[str, Metric] = {f"policy/{name}": MeanMetric(nan_strategy=NAN) for name in MEANS}
        metrics["policy/log_ratio_min"] = MinMetric(nan_strategy=NAN)
        metrics["policy/log_ratio_max"] = MaxMetric(nan_strategy=NAN)
        metrics["rollout/log_prob_gap"] = MeanMetric(nan_strategy=NAN)
        self.metrics = nn.ModuleDict(metrics)

    @torch.no_grad()
    def add_micro_batch(self, objective: Objective, batch: MicroBatch, log_probs: Tensor, entropy: Tensor) -> None:
        """Count the response tokens of one forward pass."""
        assert batch.old_log_probs is not None
        if not batch.mask.any():
            return
        log_ratio = log_ratios(log_probs.detach(), batch.old_log_probs, batch.mask)
        tokens = batch.mask
        self._add("policy/entropy", entropy[tokens])
        # samples come from the old policy: KL(old || new) by k3 with the roles of the two swapped
        self._add("policy/kl_old", kl_estimate(batch.old_log_probs, log_probs.detach(), "k3")[tokens])
        self._add("policy/clip_fraction", objective.clipped(log_ratio, batch.advantages, tokens)[tokens].float())
        for name in ("min", "mean", "max"):
            self._add(f"policy/log_ratio_{name}", log_ratio[tokens])

    @torch.no_grad()
    def add_old_log_probs(self, batch: MicroBatch) -> None:
        """Count how far the engine's log-probs are from the trainer's."""
        assert batch.old_log_probs is not None
        self._add("rollout/log_prob_gap", (batch.rollout_log_probs - batch.old_log_probs).abs()[batch.mask])

    def add_step(self, loss: Tensor, grad_norm: Tensor) -> None:
        """Count one optimizer step."""
        self._add("policy/loss", loss)
        self._add("policy/grad_norm", grad_norm)

    def compute_and_reset(self) -> dict[str, Tensor]:
        """The values under their public names, and a clean start."""
        values = {name: metric.compute() for name, metric in self.metrics.items() if metric.update_called}
        for metric in self.metrics.values():
            metric.reset()
        return values

    def _add(self, name: str, values: Tensor) -> None:
        self.metrics[name].update(values.float())
