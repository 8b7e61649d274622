"""Estimators of the KL divergence from samples of the policy, and the KL penalty."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from gmpo.objectives.objective import exp_bounded

KINDS = ("k1", "k2", "k3", "abs")


def kl_estimate(
    log_probs: Float[Tensor, "*B T"], ref_log_probs: Float[Tensor, "*B T"], kind: str
) -> Float[Tensor, "*B T"]:
    """Return the per-token estimate of KL(policy || reference), differentiable in `log_probs`.

    With d = log π − log π_ref: k1 = d, k2 = d²/2, k3 = exp(−d) − 1 + d, abs = |d|
    (http://joschu.net/blog/kl-approx.html). A "+" after the name keeps the estimate's value and takes the gradient
    of k2, which is unbiased where k3's is not.
    """
    name = check_kind(kind).removesuffix("+")
    d = log_probs - ref_log_probs
    if name == "k1":
        value = d
    elif name == "k2":
        value = d.square() / 2
    elif name == "k3":
        value = exp_bounded(-d) - 1 + d
    else:
        value = d.abs()
    if kind == name:
        return value
    k2 = d.square() / 2
    return value.detach() + (k2 - k2.detach())


def check_kind(kind: str) -> str:
    """Return the kind; raises ValueError where it does not exist."""
    if kind.removesuffix("+") not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, each also with '+', not {kind!r}")
    return kind


@dataclass(frozen=True)
class KLPenalty:
    """coefficient · KL(policy || reference), added to the loss or subtracted from the reward.

    In the loss, each token's estimate is averaged as the objective averages tokens (GRPO, arXiv:2402.03300, eq. 3).
    From the reward the sum over a response's tokens is subtracted, under the policy that sampled it.
    """

    coefficient: float = 0.0  # 0: there is no reference model
    kind: str = "k3"
    placement: Literal["loss", "reward"] = "loss"

    def __post_init__(self) -> None:
        check_kind(self.kind)
        if not self.coefficient >= 0:
            raise ValueError(f"kl.coefficient={self.coefficient} must be 0 (off) or above")
        if self.placement not in ("loss", "reward"):
            raise ValueError(f"kl.placement must be loss or reward, not {self.placement!r}")

    @property
    def needs_reference(self) -> bool:
        """Whether a reference model is needed."""
        return self.coefficient > 0

    @property
    def in_loss(self) -> bool:
        """Whether the loss has a KL term."""
        return self.needs_reference and self.placement == "loss"

    @property
    def in_reward(self) -> bool:
        """Whether the reward has a KL term."""
        return self.needs_reference and self.placement == "reward"

    def of_response(self, old_log_probs: Float[Tensor, "T"], ref_log_probs: Float[Tensor, "T"]) -> float:
        """Return what is subtracted from the reward of one response."""
        return self.coefficient * kl_estimate(old_log_probs, ref_log_probs, self.kind).sum().item()
