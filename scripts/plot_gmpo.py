"""Plot GMPO beside GRPO, computed by their own classes: `python scripts/plot_gmpo.py PICTURE.png`."""

import sys

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from gmpo.objectives import GMPO, GRPO
from gmpo.objectives.objective import Objective

OBJECTIVES: dict[str, Objective] = {"GMPO": GMPO(), "GRPO": GRPO(aggregation="sequence_mean")}
COLORS = {"GMPO": "tab:blue", "GRPO": "tab:orange"}
TOKENS = 100  # of the response that has the outlier
SEQUENCES, LENGTH, SCALE, FREEDOM = 4000, 100, 0.1, 3  # of the heavy-tailed log-ratios: Student's t
QUANTILES = (0.5, 0.99, 0.999)


def weights(objective: Objective, outlier: float, advantage: float) -> tuple[float, float]:
    """Return the gradient weights of one token of log-ratio `outlier`, and of each of its neighbours at 0.

    1 is the weight of every token while the policy has not moved: the gradient times N · T_i / A_i.
    """
    log_probs = torch.zeros(1, TOKENS, dtype=torch.float64)
    log_probs[0, 0] = outlier
    log_probs.requires_grad_()
    old, mask = torch.zeros_like(log_probs), torch.ones(1, TOKENS, dtype=torch.bool)
    loss = objective(log_probs, old, torch.tensor([advantage]).double(), mask, torch.tensor(1.0))
    (gradient,) = torch.autograd.grad(-loss, log_probs)
    own, neighbour = (gradient[0, :2] * TOKENS / advantage).tolist()
    return own, neighbour


def sequence_ratios(objective: Objective, log_ratio: Tensor, advantage: float) -> Tensor:
    """Return the factor of each response's advantage: the loss is minus the sum of advantage times ratio."""
    advantages = torch.full((len(log_ratio),), advantage, dtype=log_ratio.dtype, requires_grad=True)
    mask = torch.ones_like(log_ratio, dtype=torch.bool)
    loss = objective(log_ratio, torch.zeros_like(log_ratio), advantages, mask, torch.tensor(1.0))
    (gradient,) = torch.autograd.grad(-loss, advantages)
    return gradient


def heavy_tailed() -> Tensor:
    """Return Student's t times `SCALE`, one row for each sequence."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(FREEDOM + 1, SEQUENCES, LENGTH, generator=generator, dtype=torch.float64)
    return SCALE * drawn[0] / drawn[1:].square().mean(0).sqrt()


def numbers() -> list[str]:
    """Return the lines that docs/gmpo.md quotes about the picture."""
    lines = ["weight in the gradient of a token whose log-ratio is d, and of each of its 99 neighbours"]
    for advantage in (1.0, -1.0):
        for outlier in (-1.0, 1.0, 2.0):
            found = {name: weights(objective, outlier, advantage) for name, objective in OBJECTIVES.items()}
            shown = "   ".join(f"{name} {own:z5.3f} {neighbour:5.3f}" for name, (own, neighbour) in found.items())
            lines.append(f"A {'>' if advantage > 0 else '<'} 0, d = {outlier:4.1f}   {shown}")
    columns = "   ".join([*(f"{quantile:.1%}" for quantile in QUANTILES), "largest"])
    lines.append(f"ratio of a sequence, A < 0, below which are   {columns}")
    for name, objective in OBJECTIVES.items():
        ratios = sequence_ratios(objective, heavy_tailed(), -1.0)
        at = [*torch.quantile(ratios, torch.tensor(QUANTILES).double()).tolist(), ratios.max().item()]
        lines.append(f"{name}   {'   '.join(f'{value:.2f}' for value in at)}")
    return lines


def main() -> None:
    """Draw the weights for both signs of the advantage, and the ratios of sequences."""
    figure, (positive, negative, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    outliers = torch.linspace(-2, 2, 401).tolist()
    for axes, advantage in ((positive, 1.0), (negative, -1.0)):
        for name, objective in OBJECTIVES.items():
            own, neighbour = zip(*(weights(objective, outlier, advantage) for outlier in outliers), strict=True)
            axes.plot(outliers, own, color=COLORS[name], label=f"{name}, the token")
            axes.plot(outliers, neighbour, "--", color=COLORS[name], label=f"{name}, its neighbours")
        axes.set(title=f"A {'>' if advantage > 0 else '<'} 0", xlabel="log-ratio of one token in 100", ylim=(-0.1, 3.1))
        axes.set(ylabel="weight in the gradient")
    negative.legend(loc="upper left", fontsize="small")
    log_ratio = heavy_tailed()
    for name, objective in OBJECTIVES.items():
        ratios = sequence_ratios(objective, log_ratio, -1.0)
        right.hist(ratios.clamp(max=5).log10(), 80, range=(-0.1, 0.7), color=COLORS[name], alpha=0.6, label=name)
    right.set(title="heavy-tailed log-ratios, A < 0", xlabel="ratio of a sequence", ylabel="sequences", yscale="log")
    right.set_xticks([0, 0.301, 0.699], ["1", "2", "≥ 5"])
    right.legend(loc="upper right")
    figure.savefig(sys.argv[1], dpi=110)
    print("\n".join(numbers()))


if __name__ == "__main__":
    main()
