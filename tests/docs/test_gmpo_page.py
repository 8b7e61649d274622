"""docs/gmpo.md says what scripts/plot_gmpo.py computes, and its formulas are the classes' gradients."""

import runpy
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from torch import Tensor

from gmpo.objectives import GMPO, GRPO, HMPO
from gmpo.objectives.objective import Objective

PAGE = (ROOT / "docs" / "gmpo.md").read_text()


def test_the_numbers_of_the_page_are_the_script_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    script = runpy.run_path(str(ROOT / "scripts" / "plot_gmpo.py"))
    assert "\n".join(["```", *script["numbers"](), "```"]) in PAGE


def gradient(objective: Objective, log_ratio: Tensor, advantages: Tensor) -> Tensor:
    """Of −loss, times N and divided by the advantage."""
    log_probs = log_ratio.clone().requires_grad_()
    mask = torch.ones_like(log_ratio, dtype=torch.bool)
    loss = objective(log_probs, torch.zeros_like(log_ratio), advantages, mask, torch.tensor(3.0))
    return torch.autograd.grad(-loss, log_probs)[0] * 3 / advantages.unsqueeze(-1)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_gradients_of_the_page_are_the_classes(sign: float) -> None:
    generator = torch.Generator().manual_seed(0)
    d = torch.randn(8, 7, generator=generator, dtype=torch.float64) * 0.5
    advantages = sign * torch.linspace(0.5, 2, 8, dtype=torch.float64)
    c = d.clamp(max=0.4) if sign > 0 else d.clamp(min=-0.4)
    free, length = (c == d).double(), d.shape[1]
    assert 0 < free.mean() < 1
    geometric, harmonic = c.mean(-1, keepdim=True).exp(), length / (-c).exp().sum(-1, keepdim=True)
    beyond = (sign * d.sum(-1, keepdim=True) > 0.4).double()
    assert beyond.unique().tolist() == [0, 1]
    in_ratio_space = ((d.exp() < 1.2) if sign > 0 else (d.exp() > 0.8)).double()
    said = {
        GMPO(): geometric / length * free,
        GMPO(clip_level="sequence"): d.mean(-1, keepdim=True).exp() / length * (1 - beyond) * torch.ones_like(d),
        GMPO(clip_level="none"): d.mean(-1, keepdim=True).exp() / length * torch.ones_like(d),
        GMPO(length_normalize=False): c.sum(-1, keepdim=True).exp() * free,
        HMPO(): harmonic**2 * (-c).exp() / length * free,
        GRPO(aggregation="sequence_mean"): d.exp() / length * in_ratio_space,
    }
    for objective, weight in said.items():
        torch.testing.assert_close(gradient(objective, d, advantages), weight, atol=1e-12, rtol=0)
