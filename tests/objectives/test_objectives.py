"""Objectives against plain-Python formulas, and their independence of how a mini-batch was cut."""

import math

import pytest
import torch
from torch import Tensor

from gmpo.objectives import GMPO, GRPO
from gmpo.objectives.objective import Objective

LENGTHS = (1, 4, 7, 0, 3, 6)
OBJECTIVES: list[Objective] = [
    GMPO(),
    GMPO(0.1, 0.3),
    GMPO(clip_level="sequence"),
    GMPO(clip_level="none"),
    GMPO(length_normalize=False),
    GRPO(),
    GRPO(dual_clip=3.0),
    GRPO(aggregation="sequence_mean"),
    GRPO(aggregation="sequence_sum"),
    GRPO(aggregation="sequence_sum_norm", horizon=7),
]


def batch(seed: int = 0, spread: float = 0.5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log_probs, old_log_probs [B, T], advantages [B], mask [B, T] in float64; the fourth row has no token."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(LENGTHS), max(LENGTHS))
    old = -torch.rand(shape, generator=generator, dtype=torch.float64)
    log_probs = old + spread * torch.randn(shape, generator=generator, dtype=torch.float64)
    advantages = torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0, -0.7], dtype=torch.float64)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(-1)
    return log_probs, old, advantages, mask


def gradient(objective: Objective, parts: list[Tensor], per_part_mean: bool = False) -> Tensor:
    """The gradient of a mini-batch, accumulated over `parts` (row indices of each micro-batch)."""
    log_probs, old, advantages, mask = batch()
    log_probs.requires_grad_()
    whole = objective.count(mask)
    for rows in parts:
        denominator = objective.count(mask[rows]) if per_part_mean else whole
        objective(log_probs[rows], old[rows], advantages[rows], mask[rows], denominator).backward()
    assert log_probs.grad is not None
    return log_probs.grad


def test_gmpo_is_its_formula() -> None:
    log_probs, old, advantages, mask = batch()
    expected, n = 0.0, sum(length > 0 for length in LENGTHS)
    for i, length in enumerate(LENGTHS):
        sign = math.copysign(1.0, advantages[i].item())
        clipped = []
        for t in range(length):
            d = (log_probs[i, t] - old[i, t]).item()
            clipped.append(sign * min(sign * d, sign * min(max(d, -0.4), 0.4)))
        if length:
            expected -= advantages[i].item() * math.exp(sum(clipped) / length) / n
    loss = GMPO()(log_probs, old, advantages, mask, torch.tensor(float(n)))
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_gradient_by_finite_differences(objective: Objective) -> None:
    log_probs, old, advantages, mask = batch(seed=1, spread=0.15)
    denominator = objective.count(mask)
    assert torch.autograd.gradcheck(
        lambda x: objective(x, old, advantages, mask, denominator),
        log_probs.requires_grad_(),
        eps=1e-7,
        atol=1e-6,
    )


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_gradient_does_not_depend_on_the_cut(objective: Objective) -> None:
    whole = gradient(objective, [torch.arange(6)])
    for parts in ([[0, 1, 2], [3, 4, 5]], [[5, 0], [2], [1, 4, 3]], [[i] for i in range(6)]):
        cut = gradient(objective, [torch.tensor(rows) for rows in parts])
        torch.testing.assert_close(cut, whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_a_mean_per_micro_batch_would_depend_on_the_cut(objective: Objective) -> None:
    parts = [torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5])]
    wrong = gradient(objective, parts, per_part_mean=True)
    assert (wrong / 2 - gradient(objective, [torch.arange(6)])).abs().max() > 1e-3


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_what_the_mask_hides_counts_for_nothing(objective: Objective) -> None:
    log_probs, old, advantages, mask = batch()
    denominator = objective.count(mask)
    clean = objective(log_probs, old, advantages, mask, denominator)
    log_probs[~mask], old[~mask] = float("nan"), float("-inf")
    log_probs.requires_grad_()
    hidden = objective(log_probs, old, advantages, mask, denominator)
    hidden.backward()
    assert hidden.item() == clean.item()
    assert log_probs.grad is not None
    assert torch.isfinite(log_probs.grad).all()
    assert (log_probs.grad[~mask] == 0).all()


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_clipped_tokens_are_those_without_gradient(objective: Objective) -> None:
    log_probs, old, advantages, mask = batch()
    log_probs.requires_grad_()
    objective(log_probs, old, advantages, mask, objective.count(mask)).backward()
    assert log_probs.grad is not None
    clipped = objective.clipped(log_probs.detach() - old, advantages, mask)
    moves = mask & (advantages != 0).unsqueeze(-1)
    assert torch.equal(clipped, moves & (log_probs.grad == 0))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_correction_weighs_sequences(objective: Objective) -> None:
    log_probs, old, advantages, mask = batch()
    denominator = objective.count(mask)
    plain = objective(log_probs, old, advantages, mask, denominator)
    ones = torch.ones_like(old)
    assert objective(log_probs, old, advantages, mask, denominator, ones).item() == pytest.approx(plain.item())
    assert objective(log_probs, old, advantages, mask, denominator, 0 * ones).item() == 0


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_no_advantage_is_no_gradient_however_large_the_ratio(objective: Objective) -> None:
    log_probs = torch.full((1, 40), 30.0, requires_grad=True)
    mask = torch.ones(1, 40, dtype=torch.bool)
    loss = objective(log_probs, torch.zeros(1, 40), torch.zeros(1), mask, objective.count(mask))
    loss.backward()
    assert loss.item() == 0
    assert log_probs.grad is not None
    assert (log_probs.grad == 0).all()


def test_gmpo_correction_is_a_geometric_mean() -> None:
    log_probs, old, advantages, mask = batch()
    correction = torch.rand(old.shape, dtype=torch.float64) + 0.5
    one = mask.any(-1).sum().double()
    weights = [math.prod(correction[i, :n].tolist()) ** (1 / n) if n else 1.0 for i, n in enumerate(LENGTHS)]
    expected = GMPO()(log_probs, old, advantages * torch.tensor(weights, dtype=torch.float64), mask, one)
    assert GMPO()(log_probs, old, advantages, mask, one, correction).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: GMPO(clip_low=-0.1), "clip_low"),
        (lambda: GMPO(clip_level="word"), "word"),  # type: ignore[arg-type]
        (lambda: GRPO(clip_high=-1), "clip_high"),
        (lambda: GRPO(aggregation="mean"), "token_mean"),  # type: ignore[arg-type]
        (lambda: GRPO(aggregation="sequence_sum_norm"), "horizon"),
        (lambda: GRPO(horizon=5), "horizon"),
        (lambda: GRPO(dual_clip=0.5), "dual_clip"),
    ],
)
def test_wrong_values_are_refused_by_name(build: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        build()  # type: ignore[operator]
