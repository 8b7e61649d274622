"""Estimators of the KL divergence from samples of the policy (http://joschu.net/blog/kl-approx.html)."""

from jaxtyping import Float
from torch import Tensor

KINDS = ("k1", "k2", "k3", "abs")


def kl_estimate(
    log_probs: Float[Tensor, "B T"], ref_log_probs: Float[Tensor, "B T"], kind: str
) -> Float[Tensor, "B T"]:
    """Per-token estimate of KL(policy || reference), differentiable in `log_probs`.

    With d = log π − log π_ref: k1 = d, k2 = d²/2, k3 = exp(−d) − 1 + d, abs = |d|. A "+" after the name
    keeps the estimate's value and takes the gradient of k2, which is unbiased where k3's is not.
    """
    name = kind.removesuffix("+")
    if name not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, each also with '+', not {kind!r}")
    d = log_probs - ref_log_probs
    if name == "k1":
        value = d
    elif name == "k2":
        value = d.square() / 2
    elif name == "k3":
        value = (-d).exp() - 1 + d
    else:
        value = d.abs()
    if kind == name:
        return value
    k2 = d.square() / 2
    return value.detach() + k2 - k2.detach()
