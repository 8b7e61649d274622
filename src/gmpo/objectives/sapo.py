"""Soft Adaptive Policy Optimization."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gmpo.objectives.objective import LossInputs, PerSequence, exp_bounded


@dataclass(frozen=True)
class SAPO(PerSequence):
    """A smooth gate in place of clipping (arXiv:2511.20347).

    With ρ_t the ratio of a token: gate_t = σ(τ·(ρ_t − 1))·4/τ, τ = tau_pos where the advantage is positive and
    tau_neg where it is not; loss = −A·gate_t, averaged over tokens, then sequences. There is no clip range: the
    gradient's weight falls off on both sides of a ratio of 1, the faster the larger τ is.
    """

    tau_pos: float = 1.0
    tau_neg: float = 1.05

    def __post_init__(self) -> None:
        for name, value in (("tau_pos", self.tau_pos), ("tau_neg", self.tau_neg)):
            if not value > 0:
                raise ValueError(f"{name} is the steepness of a gate and must be above 0, not {value}")

    def loss(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """Return the loss; the correction weighs each token's loss."""
        ratio_BT = exp_bounded(inputs.log_ratio)
        advantages_B1 = inputs.advantages.unsqueeze(-1)
        tau_pos, tau_neg = ratio_BT.new_tensor(self.tau_pos), ratio_BT.new_tensor(self.tau_neg)
        tau_B1 = torch.where(advantages_B1 > 0, tau_pos, tau_neg)
        gate_BT = (tau_B1 * (ratio_BT - 1)).sigmoid() * 4 / tau_B1
        loss_BT = -advantages_B1 * gate_BT
        if inputs.correction is not None:
            loss_BT = loss_BT * inputs.correction
        return self.average(loss_BT, inputs.mask, inputs.denominator)
