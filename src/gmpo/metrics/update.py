"""Metrics of the updates of one rollout step."""

from typing import Literal

import torch
from torch import Tensor, nn
from torchmetrics import MaxMetric, MeanMetric, Metric, MinMetric

from gmpo.batching import Assignment
from gmpo.objectives.correction import Correction
from gmpo.objectives.kl import kl_estimate
from gmpo.objectives.objective import Objective, log_ratios
from gmpo.parallel.collectives import gather
from gmpo.types import MicroBatch, MiniBatch

CLIP_SHARES = ("policy/clip_fraction", "policy/clip_fraction_high", "policy/clip_fraction_low")
MEANS = (
    "policy/entropy",
    "policy/kl_old",
    "policy/kl_ref",
    "policy/log_ratio_mean",
    *CLIP_SHARES,
    "policy/loss",
    "policy/grad_norm",
    "rollout/log_prob_gap",
    "rollout/async_gap",
    "rollout/corrected_fraction",
    "throughput/padding_fraction",
    "throughput/imbalance",
)
NAN: Literal["disable"] = "disable"  # show NaNs instead of leaving them out of the mean


class UpdateMetrics(nn.Module):
    """Metrics over the response tokens of a rollout step, and over its optimizer steps.

    Only tokens that are sent through the model count. Entropy and the two engine gaps are of the policy before the
    updates: from the pass that gives the old log-probs, which for the first mini-batch is its update's own; where the
    engine gives the old log-probs, from the first mini-batch alone. kl_ref is of the policy that sampled; log_ratio and
    kl_old compare the policy at each update with it. The clip fractions are over all tokens in the loss: one of
    advantage 0 is never clipped. All metrics are over all ranks.
    """

    def __init__(self) -> None:
        super().__init__()
        metrics: dict[str, Metric] = {name: MeanMetric(nan_strategy=NAN) for name in MEANS}
        metrics["policy/log_ratio_min"] = MinMetric(nan_strategy=NAN)
        metrics["policy/log_ratio_max"] = MaxMetric(nan_strategy=NAN)
        metrics["rollout/log_prob_gap_max"] = MaxMetric(nan_strategy=NAN)
        self.metrics = nn.ModuleDict(metrics)
        self._seen: set[str] = set()  # metrics with a value on this rank

    def add_entropy(self, batch: MicroBatch, entropy: Tensor | None) -> None:
        """Add the entropy of the distribution that each response token was drawn from."""
        assert entropy is not None, "the caller asks for entropies"
        self._add("policy/entropy", entropy[batch.mask])

    def add_log_prob_gap(self, batch: MicroBatch, log_probs: Tensor, is_behind: bool) -> None:
        """Add the distance between the engine's and the trainer's log-probs.

        is_behind: the engine's are of earlier weights; that gap is expected, and is a metric of its own.
        """
        gap = (batch.rollout_log_probs - log_probs).abs()[batch.mask]
        if is_behind:
            self._add("rollout/async_gap", gap)
        else:
            self._add("rollout/log_prob_gap", gap)
            self._add("rollout/log_prob_gap_max", gap)

    def add_correction(self, batch: MicroBatch, correction: Correction) -> None:
        """Add the fraction of tokens or sequences whose weight a bound changed."""
        assert batch.old_log_probs is not None
        touched = correction.touched(batch.old_log_probs, batch.rollout_log_probs, batch.mask)
        self._add("rollout/corrected_fraction", touched)

    @torch.no_grad()
    def add_micro_batch(self, objective: Objective, batch: MicroBatch, log_probs: Tensor) -> None:
        """Add the response tokens of one forward pass."""
        assert batch.old_log_probs is not None
        log_ratio = log_ratios(log_probs, batch.old_log_probs, batch.mask)
        clipped = objective.clipped(log_ratio, batch.advantages, batch.mask)
        for name, tokens in zip(CLIP_SHARES, (clipped.high | clipped.low, *clipped), strict=True):
            self._add(name, tokens[batch.mask])
        # samples come from the old policy: KL(old || new) by k3 with the roles of the two swapped
        self._add("policy/kl_old", kl_estimate(batch.old_log_probs, log_probs, "k3")[batch.mask])
        for name in ("min", "mean", "max"):
            self._add(f"policy/log_ratio_{name}", log_ratio[batch.mask])
        if batch.ref_log_probs is not None:
            self._add("policy/kl_ref", kl_estimate(batch.old_log_probs, batch.ref_log_probs, "k3")[batch.mask])

    def add_zero_advantage(self, mini_batch: MiniBatch) -> None:
        """Add the response tokens that skip the model."""
        for name in CLIP_SHARES:
            self._add(name, torch.zeros_like(mini_batch.zero_advantage)[mini_batch.zero_advantage])

    def add_step(self, loss: Tensor, grad_norm: Tensor) -> None:
        """Add one optimizer step."""
        self._add("policy/loss", loss)
        self._add("policy/grad_norm", grad_norm)

    def add_plan(self, plan: Assignment) -> None:
        """Add the padding of the micro-batches and the imbalance between ranks."""
        self._add("throughput/padding_fraction", torch.tensor(plan.padding_share))
        self._add("throughput/imbalance", torch.tensor(plan.imbalance))

    def compute_and_reset(self) -> dict[str, Tensor]:
        """Return the values by public name, and reset the metrics. Collective."""
        seen = set().union(*gather(self._seen))
        for name in seen - self._seen:
            self.metrics[name].update(torch.empty(0, device=self.metrics[name].device))  # other ranks have values
        values = {name: metric.compute() for name, metric in self.metrics.items() if name in seen}
        for metric in self.metrics.values():
            metric.reset()
        self._seen.clear()
        return values

    def _add(self, name: str, values: Tensor) -> None:
        if values.numel():
            metric = self.metrics[name]
            metric.update(values.detach().to(metric.device, torch.float32))
            self._seen.add(name)
