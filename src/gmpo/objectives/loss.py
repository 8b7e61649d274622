"""The loss of an update: an objective, a KL penalty and an entropy bonus."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from gmpo.objectives.correction import Correction, NoCorrection
from gmpo.objectives.kl import KLPenalty, kl_estimate
from gmpo.objectives.objective import LossInputs, Objective, on_mask
from gmpo.types import MicroBatch, MiniBatch


@dataclass(frozen=True)
class PolicyLoss:
    """objective + kl.coefficient · KL − entropy_coefficient · entropy, all over one denominator.

    KL and entropy are averaged over tokens as the objective averages, so that the relative weight of the terms does not
    depend on how a mini-batch is split.
    """

    objective: Objective
    kl: KLPenalty = field(default_factory=KLPenalty)
    entropy_coefficient: float = 0.0
    correction: Correction = field(default_factory=NoCorrection)

    def __post_init__(self) -> None:
        if not isinstance(self.entropy_coefficient, int | float):
            raise ValueError(f"entropy.coefficient={self.entropy_coefficient} must be a number; 0 is off")

    def __call__(
        self,
        log_probs: Float[Tensor, "B T"],
        entropy: Float[Tensor, "B T"] | None,
        batch: MicroBatch,
        denominator: Float[Tensor, ""],
        progress: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Return the micro-batch's part of the mini-batch's loss, differentiable in `log_probs` and `entropy`.

        progress: of the run, from 0 to 1.
        """
        assert batch.old_log_probs is not None, "log-probs come before the update"
        inputs = LossInputs(
            log_probs=log_probs,
            old_log_probs=batch.old_log_probs,
            advantages=batch.advantages,
            mask=batch.mask,
            denominator=denominator,
            correction=self.correction(batch.old_log_probs, batch.rollout_log_probs, batch.mask),
            ref_log_probs=batch.ref_log_probs,
            entropy=entropy,
            progress=progress,
        )
        loss = self.objective.loss(inputs)
        if self.kl.in_loss:
            assert batch.ref_log_probs is not None, "log-probs come before the update"
            kl = kl_estimate(on_mask(log_probs, batch.mask), batch.ref_log_probs, self.kl.kind)
            loss = loss + self.kl.coefficient * self.objective.average(kl, batch.mask, denominator)
        if self.entropy_coefficient:
            assert entropy is not None, "a bonus needs it"
            loss = loss - self.entropy_coefficient * self.objective.average(entropy, batch.mask, denominator)
        return loss

    def count(self, mini_batch: MiniBatch) -> Float[Tensor, ""]:
        """Return this rank's part of the denominator; sequences that skip the model count."""
        return sum(self.objective.count(mask) for mask in mini_batch.masks())

    @property
    def learns_from_zero_advantage(self) -> bool:
        """Whether a sequence of advantage 0 has a gradient."""
        return self.objective.learns_from_zero_advantage or self.kl.in_loss or self.entropy_coefficient != 0

    @property
    def learns_without_rewards(self) -> bool:
        """Whether there is a gradient even where all rewards of a group are equal."""
        return self.learns_from_zero_advantage or self.kl.in_reward
