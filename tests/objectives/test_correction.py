"""Weights for the mismatch between engine and trainer, against plain Python."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from gmpo.objectives import ImportanceSampling, NoCorrection
from gmpo.objectives.correction import sequence_weight

LENGTHS = (1, 4, 7, 0, 3, 6)
BOUNDS = ((0.5, 2.0), (0.8, 1.0), (0.0, 1.2), (0.0, math.inf))
KINDS = list(itertools.product(("truncate", "mask"), ("token", "sequence"), BOUNDS))


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """old_log_probs, rollout_log_probs [B, T] in float64, mask [B, T] with holes; the fourth row has no token."""
    generator = torch.Generator().manual_seed(0)
    shape = (len(LENGTHS), max(LENGTHS))
    old = -torch.rand(shape, generator=generator, dtype=torch.float64)
    rollout = old + 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(-1)
    mask[5, 2] = False
    return old, rollout, mask


def log_weights() -> list[list[float]]:
    """Of each row's response tokens."""
    old, rollout, mask = batch()
    return [(old[i] - rollout[i])[mask[i]].tolist() for i in range(len(LENGTHS))]


@pytest.mark.parametrize(("mode", "level", "bounds"), KINDS)
def test_importance_sampling_is_its_formula(mode: str, level: str, bounds: tuple[float, float]) -> None:
    correction = ImportanceSampling(mode, level, *bounds)  # type: ignore[arg-type]
    low, high = bounds
    weights, touched = [], []
    for row in log_weights():
        free = [math.exp(d) for d in row] if level == "token" else [math.exp(math.fsum(row))] * len(row)
        outside = [not low <= w <= high for w in free]
        weights += [
            (0.0 if mode == "mask" else min(max(w, low), high)) if out else w
            for w, out in zip(free, outside, strict=True)
        ]
        touched += outside if level == "token" else outside[:1]
    old, rollout, mask = batch()
    assert correction(old, rollout, mask)[mask].tolist() == pytest.approx(weights, rel=1e-12)
    assert correction.touched(old, rollout, mask).tolist() == touched
    assert any(touched) == (bounds != (0.0, math.inf))
    assert not all(touched)


@pytest.mark.parametrize(("mode", "level", "bounds"), KINDS)
def test_weights_are_constants_that_do_not_see_what_is_off_the_mask(
    mode: str, level: str, bounds: tuple[float, float]
) -> None:
    correction = ImportanceSampling(mode, level, *bounds)  # type: ignore[arg-type]
    old, rollout, mask = batch()
    weight, touched = correction(old, rollout, mask), correction.touched(old, rollout, mask)
    old[~mask], rollout[~mask] = math.nan, math.inf
    hidden = correction(old.requires_grad_(), rollout.requires_grad_(), mask)
    assert not hidden.requires_grad
    assert torch.equal(hidden, weight)
    assert torch.equal(correction.touched(old, rollout, mask), touched)


@pytest.mark.parametrize(("mode", "level", "bounds"), KINDS)
def test_gaps_of_100_do_not_overflow_float32(mode: str, level: str, bounds: tuple[float, float]) -> None:
    old = torch.full((3, 64), -0.5)
    rollout = old + torch.tensor([[100.0], [-100.0], [0.0]])
    mask = torch.ones(3, 64, dtype=torch.bool)
    weight = ImportanceSampling(mode, level, *bounds)(old, rollout, mask)  # type: ignore[arg-type]
    low, high = (0.0, 0.0) if mode == "mask" and math.isfinite(bounds[1]) else bounds
    assert weight.isfinite().all()
    assert (weight[0] <= max(low, 1e-18)).all()
    assert (weight[1] >= min(high, 1e18)).all()
    assert (weight[2] == 1).all()


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_without_a_mismatch_every_weight_is_1(level: str) -> None:
    old, _, mask = batch()
    correction = ImportanceSampling("mask", level, 1.0, 1.0)  # type: ignore[arg-type]
    assert (correction(old, old, mask) == 1).all()
    assert not correction.touched(old, old, mask).any()
    assert len(correction.touched(old, old, mask)) == (mask.sum() if level == "token" else mask.any(-1).sum())


def test_weight_of_a_sequence_is_the_geometric_mean_of_what_is_left() -> None:
    old, rollout, mask = batch()
    weight = sequence_weight(ImportanceSampling("mask", "token", 0.8, 1.25)(old, rollout, mask), mask)
    for row, actual in zip(log_weights(), weight.tolist(), strict=True):
        kept = [d for d in row if 0.8 <= math.exp(d) <= 1.25]
        assert actual == pytest.approx(math.exp(math.fsum(kept) / len(kept)) if kept else 0, rel=1e-12)
    assert sequence_weight(None, mask).tolist() == [1, 1, 1, 0, 1, 1]


def test_no_correction_leaves_everything_as_it_is() -> None:
    assert NoCorrection()(*batch()) is None
    assert NoCorrection().touched(*batch()).numel() == 0


@pytest.mark.parametrize(
    ("mode", "level", "low", "high", "named"),
    [
        ("clip", "token", 0.5, 2.0, "mode.*'clip'"),
        ("mask", "word", 0.5, 2.0, "level.*'word'"),
        ("mask", "token", -0.1, 2.0, "low=-0.1"),
        ("mask", "token", 1.1, 2.0, "low=1.1"),
        ("mask", "token", 0.5, 0.9, "high=0.9"),
        ("mask", "token", math.nan, 2.0, "low=nan"),
        ("mask", "token", 0.5, math.nan, "high=nan"),
    ],
)
def test_wrong_values_are_refused_by_name(mode: str, level: str, low: float, high: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ImportanceSampling(mode, level, low, high)  # type: ignore[arg-type]
