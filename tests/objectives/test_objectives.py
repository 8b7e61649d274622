"""What every objective promises: independence of the cut, of what is off the mask, and the place of a correction."""

import math

import pytest
import torch
from formulas import CASES, NAMES
from formulas.formula import Case
from torch import Tensor

from gmpo.objectives import CISPO, GMPO, GRPO, GSPO, HMPO, SAPO
from gmpo.objectives.objective import Objective

LENGTHS = (1, 4, 7, 0, 3, 6)
CUTS = ([[0, 1, 2], [3, 4, 5]], [[5, 0], [2], [1, 4, 3]], [[i] for i in range(6)])
OBJECTIVES = [case.objective for case in CASES]
GEOMETRIC = [case.objective for case in CASES if case.per_sequence]  # a sequence has one weight, its tokens' mean
DIFFERENTIATED = [case.objective for case in CASES if not case.detached]


def batch(seed: int = 0, spread: float = 0.5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log_probs, old_log_probs [B, T], advantages [B], mask [B, T] in float64; the fourth row has no token."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(LENGTHS), max(LENGTHS))
    old = -torch.rand(shape, generator=generator, dtype=torch.float64)
    log_probs = old + spread * torch.randn(shape, generator=generator, dtype=torch.float64)
    advantages = torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0, -0.7], dtype=torch.float64)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(-1)
    return log_probs, old, advantages, mask


def loss_and_gradient(
    objective: Objective, correction: Tensor | None = None, seed: int = 0, spread: float = 0.5
) -> tuple[float, Tensor]:
    log_probs, *others = batch(seed, spread)
    loss = objective(log_probs.requires_grad_(), *others, objective.count(others[-1]), correction)
    loss.backward()
    assert log_probs.grad is not None
    return loss.item(), log_probs.grad


def gradient(objective: Objective, parts: list[list[int]], per_part_mean: bool = False) -> Tensor:
    """The gradient of a mini-batch, accumulated over `parts` (row indices of each micro-batch)."""
    log_probs, old, advantages, mask = batch()
    log_probs.requires_grad_()
    whole = objective.count(mask)
    for rows in parts:
        denominator = objective.count(mask[rows]) if per_part_mean else whole
        objective(log_probs[rows], old[rows], advantages[rows], mask[rows], denominator).backward()
    assert log_probs.grad is not None
    return log_probs.grad


@pytest.mark.parametrize("objective", DIFFERENTIATED, ids=str)
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
    whole = gradient(objective, [list(range(6))])
    for parts in CUTS:
        torch.testing.assert_close(gradient(objective, parts), whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_a_mean_per_micro_batch_would_depend_on_the_cut(objective: Objective) -> None:
    wrong = gradient(objective, [[0, 1, 2], [3, 4, 5]], per_part_mean=True)
    assert (wrong / 2 - gradient(objective, [list(range(6))])).abs().max() > 1e-3


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_average_is_what_the_denominator_says(case: Case) -> None:
    values, _, _, mask = batch()
    objective, sequences, tokens = case.objective, sum(map(bool, LENGTHS)), sum(LENGTHS)
    rows = [values[i, :n].tolist() for i, n in enumerate(LENGTHS) if n]
    expected = sum(case.token_weight(len(row), sequences, tokens) * sum(row) for row in rows)
    denominator = objective.count(mask)
    assert denominator == (tokens if case.per_token else sequences)
    values[~mask] = math.nan
    for parts in ([list(range(6))], *CUTS):
        assert sum(objective.count(mask[part]) for part in parts) == denominator
        average = sum(objective.average(values[part], mask[part], denominator).item() for part in parts)
        assert average == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_what_the_mask_hides_counts_for_nothing(objective: Objective) -> None:
    log_probs, old, advantages, mask = batch()
    denominator = objective.count(mask)
    clean = objective(log_probs, old, advantages, mask, denominator)
    log_probs[~mask], old[~mask] = math.nan, -math.inf
    log_probs.requires_grad_()
    hidden = objective(log_probs, old, advantages, mask, denominator)
    hidden.backward()
    assert hidden.item() == clean.item()
    assert log_probs.grad is not None
    assert torch.isfinite(log_probs.grad).all()
    assert (log_probs.grad[~mask] == 0).all()


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_no_advantage_is_no_gradient_however_large_the_ratio(objective: Objective) -> None:
    log_probs = torch.full((1, 40), 30.0, requires_grad=True)
    mask = torch.ones(1, 40, dtype=torch.bool)
    loss = objective(log_probs, torch.zeros(1, 40), torch.zeros(1), mask, objective.count(mask))
    loss.backward()
    assert loss.item() == 0
    assert log_probs.grad is not None
    assert (log_probs.grad == 0).all()


@pytest.mark.parametrize("objective", DIFFERENTIATED, ids=str)
def test_clipped_tokens_are_those_without_gradient(objective: Objective) -> None:
    log_probs, old, advantages, mask = batch()
    _, grad = loss_and_gradient(objective)
    high, low = objective.clipped(log_probs - old, advantages, mask)
    assert torch.equal(high | low, mask & (advantages != 0).unsqueeze(-1) & (grad == 0))


@pytest.mark.parametrize("objective", DIFFERENTIATED, ids=str)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_clipping_begins_where_the_gradient_ends(objective: Objective, sign: float) -> None:
    """Responses of one token, whose ratios sweep over the bounds of every range."""
    size = torch.logspace(-5, 0.3, 500, dtype=torch.float64)
    log_ratio = torch.cat([-size, size]).unsqueeze(-1).requires_grad_()
    mask, advantages = torch.ones(1000, 1, dtype=torch.bool), torch.full((1000,), sign, dtype=torch.float64)
    objective(log_ratio, torch.zeros_like(log_ratio), advantages, mask, objective.count(mask)).backward()
    high, low = objective.clipped(log_ratio.detach(), advantages, mask)
    assert log_ratio.grad is not None
    assert torch.equal(high | low, log_ratio.grad == 0)


@pytest.mark.parametrize("floor", [1.0, 0.2])
def test_clipped_tokens_of_cispo_have_the_bound_for_a_weight(floor: float) -> None:
    log_probs, old, advantages, mask = batch()
    _, grad = loss_and_gradient(CISPO(clip_low=floor))
    weight = -grad * mask.sum() / advantages.unsqueeze(-1)
    high, low = CISPO(clip_low=floor).clipped(log_probs - old, advantages, mask)
    assert torch.equal(high, mask & (weight > 1.28 - 1e-9))
    assert torch.equal(low, mask & (weight < 1 - floor + 1e-9))
    assert low.any() == (floor < 1)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_sides_of_the_clip_range(case: Case) -> None:
    """Responses of one token: above the range and below it, each with every sign of the advantage."""
    log_ratio, advantages = [1.5] * 3 + [-1.5] * 3, [1.0, -1.0, 0.0] * 2
    held = [case.held(d, advantage) for d, advantage in zip(log_ratio, advantages, strict=True)]
    expected = [[on and d > 0 for on, d in zip(held, log_ratio, strict=True)]]
    expected += [[on and d < 0 for on, d in zip(held, log_ratio, strict=True)]]
    ratios = torch.tensor(log_ratio).unsqueeze(-1)
    clipped = case.objective.clipped(ratios, torch.tensor(advantages), torch.ones(6, 1, dtype=torch.bool))
    assert [side[:, 0].tolist() for side in clipped] == expected
    hidden = case.objective.clipped(ratios, torch.tensor(advantages), torch.zeros(6, 1, dtype=torch.bool))
    assert not any(side.any() for side in hidden)


def test_sides_that_are_known() -> None:
    held = {
        case.name: [case.held(*at) for at in ((1.5, 1.0), (1.5, -1.0), (-1.5, 1.0), (-1.5, -1.0))] for case in CASES
    }
    assert held["gmpo"] == held["grpo"] == [True, False, False, True]
    assert held["grpo_dual_clip"] == [True, True, False, True]
    assert held["cispo"] == [True, True, False, False]
    assert held["cispo_floor"] == [True] * 4
    assert held["sapo"] == held["gmpo_noclip"] == [False] * 4


@pytest.mark.parametrize("constant", [1.0, 0.3, 2.5, 0.0])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_a_constant_correction_scales_the_loss(objective: Objective, constant: float) -> None:
    plain, plain_grad = loss_and_gradient(objective)
    loss, grad = loss_and_gradient(objective, torch.full(plain_grad.shape, constant, dtype=torch.float64))
    assert loss == pytest.approx(constant * plain, rel=1e-12)
    torch.testing.assert_close(grad, constant * plain_grad, rtol=1e-12, atol=0)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_a_token_of_weight_0_has_no_gradient_and_its_sequence_stays_alive(objective: Objective) -> None:
    _, _, advantages, mask = batch()
    correction = torch.ones(mask.shape, dtype=torch.float64)
    correction[:, 0] = 0
    _, grad = loss_and_gradient(objective, correction, spread=0)  # at ratios of 1 nothing is clipped
    alive = mask & (advantages != 0).unsqueeze(-1)
    alive[:, 0] = False
    assert torch.equal(grad != 0, alive)


@pytest.mark.parametrize("objective", GEOMETRIC, ids=str)
@pytest.mark.parametrize("removed", [False, True])
def test_correction_of_a_sequence_is_the_geometric_mean_of_weights_above_0(objective: Objective, removed: bool) -> None:
    log_probs, old, advantages, mask = batch()
    one = torch.ones((), dtype=torch.float64)
    correction = torch.rand(old.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 0.5
    if removed:
        correction[:, ::2] = 0
    kept = [[w for w in correction[i, :n].tolist() if w] for i, n in enumerate(LENGTHS)]
    weights = torch.tensor([math.prod(w) ** (1 / len(w)) if w else 0 for w in kept], dtype=torch.float64)
    expected = objective(log_probs, old, advantages * weights, mask, one)
    loss = objective(log_probs, old, advantages, mask, one, correction)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("objective", [o for o in OBJECTIVES if o not in GEOMETRIC], ids=str)
def test_correction_of_a_token_weighs_its_loss(objective: Objective) -> None:
    *others, mask = batch()
    correction = torch.rand(mask.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 0.5
    denominator, expected = objective.count(mask), 0.0
    for i, t in mask.nonzero().tolist():
        alone = torch.zeros_like(correction)
        alone[i, t] = 1
        expected += correction[i, t].item() * objective(*others, mask, denominator, alone).item()
    assert objective(*others, mask, denominator, correction).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("objective", "values", "named"),
    [
        *(
            (objective, {name: value}, name)
            for objective in (GMPO, HMPO, GRPO, GSPO, CISPO)
            for name in ("clip_low", "clip_high")
            for value in (-0.1, math.nan, "3e-4")
        ),
        *((SAPO, {name: value}, name) for name in ("tau_pos", "tau_neg") for value in (0.0, -1.0, math.nan)),
        (GMPO, {"clip_level": "word"}, "clip_level.*'word'"),
        (GRPO, {"aggregation": "mean"}, "aggregation.*token_mean.*'mean'"),
        (GRPO, {"aggregation": "sequence_sum_norm"}, "horizon"),
        (GRPO, {"horizon": 5}, "horizon"),
        (GRPO, {"aggregation": "sequence_sum_norm", "horizon": 0}, "horizon.*0"),
        (GRPO, {"dual_clip": 1.0}, "dual_clip"),
        (GRPO, {"dual_clip": math.nan}, "dual_clip"),
    ],
)
def test_wrong_values_are_refused_by_name(objective: type, values: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        objective(**values)
