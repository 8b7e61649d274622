"""Every objective against its paper's formula, transcribed with lists and loops, on drawn batches with extremes."""

import math
from collections import defaultdict
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gmpo.objectives import CISPO, GMPO, GRPO, GSPO, HMPO, SAPO
from gmpo.objectives.objective import Objective

Rows = list[list[float]]
Batch = tuple[Rows, Rows, list[float], list[list[bool]]]  # log_probs, old_log_probs, advantages, mask
# A sequence's terms of the loss, from its response tokens: log_probs, old_log_probs, advantage, and log_probs once
# more as the constants that CISPO weighs tokens by.
Terms = Callable[[list[float], list[float], float, list[float]], list[float]]
# What its terms are multiplied by, from its length and the mini-batch's numbers of sequences and tokens.
Share = Callable[[int, int, int], float]

STEP = 1e-6
EXTREME = 30.0


def clamp(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def gmpo(low: float = 0.4, high: float = 0.4, level: str = "token", normalize: bool = True) -> Terms:
    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        sign = math.copysign(1, advantage)
        log_ratios = [n - o for n, o in zip(new, old, strict=True)]
        if level == "token":
            log_ratios = [sign * min(sign * d, sign * clamp(d, -low, high)) for d in log_ratios]
        exponent = math.fsum(log_ratios)
        if level == "sequence":
            exponent = sign * min(sign * exponent, sign * clamp(exponent, -low, high))
        return [-advantage * math.exp(exponent / len(new) if normalize else exponent)]

    return terms


def hmpo(low: float = 0.4, high: float = 0.4) -> Terms:
    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        sign = math.copysign(1, advantage)
        log_ratios = [n - o for n, o in zip(new, old, strict=True)]
        clipped = [sign * min(sign * d, sign * clamp(d, -low, high)) for d in log_ratios]
        return [-advantage * len(new) / math.fsum(1 / math.exp(d) for d in clipped)]

    return terms


def grpo(low: float = 0.2, high: float = 0.2, dual: float = math.inf) -> Terms:
    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        ratios = [math.exp(n - o) for n, o in zip(new, old, strict=True)]
        gains = [min(advantage * r, advantage * clamp(r, 1 - low, 1 + high)) for r in ratios]
        return [-max(gain, dual * advantage) if advantage < 0 else -gain for gain in gains]

    return terms


def gspo(low: float = 3e-4, high: float = 4e-4) -> Terms:
    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        ratio = math.exp((math.fsum(new) - math.fsum(old)) / len(new))
        return [-min(advantage * ratio, advantage * clamp(ratio, 1 - low, 1 + high))]

    return terms


def cispo(low: float = 1.0, high: float = 0.28) -> Terms:
    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        weights = [clamp(math.exp(f - o), 1 - low, 1 + high) for f, o in zip(frozen, old, strict=True)]
        return [-weight * advantage * n for weight, n in zip(weights, new, strict=True)]

    return terms


def sapo(tau_pos: float = 1.0, tau_neg: float = 1.05) -> Terms:
    def terms(new: list[float], old: list[float], advantage: float, frozen: list[float]) -> list[float]:
        tau = tau_pos if advantage > 0 else tau_neg
        ratios = [math.exp(n - o) for n, o in zip(new, old, strict=True)]
        return [-advantage * 4 / tau / (1 + math.exp(-tau * (r - 1))) for r in ratios]

    return terms


def over_sequences(length: int, sequences: int, tokens: int) -> float:
    return 1 / sequences


def over_tokens_then_sequences(length: int, sequences: int, tokens: int) -> float:
    return 1 / length / sequences


def over_tokens(length: int, sequences: int, tokens: int) -> float:
    return 1 / tokens


def over_sequences_and_horizon(length: int, sequences: int, tokens: int) -> float:
    return 1 / sequences / 7


FREE, HIGH, LOW = "free", "high", "low"
BOTH = {FREE, HIGH, LOW}
CASES: list[tuple[Objective, Terms, Share, set[str]]] = [  # and the sides on which it holds tokens back
    (GMPO(), gmpo(), over_sequences, BOTH),
    (GMPO(0.1, 0.3), gmpo(0.1, 0.3), over_sequences, BOTH),
    (GMPO(clip_level="sequence"), gmpo(level="sequence"), over_sequences, BOTH),
    (GMPO(clip_level="none"), gmpo(level="none"), over_sequences, {FREE}),
    (GMPO(length_normalize=False), gmpo(normalize=False), over_sequences, BOTH),
    (GMPO(clip_level="none", length_normalize=False), gmpo(level="none", normalize=False), over_sequences, {FREE}),
    (HMPO(), hmpo(), over_sequences, BOTH),
    (HMPO(0.1, 0.3), hmpo(0.1, 0.3), over_sequences, BOTH),
    (GRPO(), grpo(), over_tokens, BOTH),
    (GRPO(0.2, 0.28, dual_clip=3.0), grpo(0.2, 0.28, 3.0), over_tokens, BOTH),
    (GRPO(aggregation="sequence_mean"), grpo(), over_tokens_then_sequences, BOTH),
    (GRPO(aggregation="sequence_sum"), grpo(), over_sequences, BOTH),
    (GRPO(aggregation="sequence_sum_norm", horizon=7), grpo(), over_sequences_and_horizon, BOTH),
    (GSPO(), gspo(), over_sequences, BOTH),
    (GSPO(0.2, 0.2), gspo(0.2, 0.2), over_sequences, BOTH),
    (CISPO(), cispo(), over_tokens, {FREE, HIGH}),
    (CISPO(clip_low=0.2), cispo(0.2), over_tokens, BOTH),
    (SAPO(), sapo(), over_tokens_then_sequences, {FREE}),
    (SAPO(0.5, 2.0), sapo(0.5, 2.0), over_tokens_then_sequences, {FREE}),
]
FAMILIES = (GMPO, HMPO, GRPO, GSPO, CISPO, SAPO)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Masks with holes and empty rows, anything off the mask, advantages of 0, and log-ratios of ±30 among others."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    unit = draw(st.sampled_from([1.5, 1.5, 1e-3])) / 1009  # GSPO's default range is thousandths wide
    token = st.none() | st.integers(-1009, 0).map(unit.__mul__) | st.integers(0, 1009).map(unit.__mul__)
    if draw(st.booleans()):
        token = token | st.sampled_from([EXTREME, -EXTREME])
    log_ratios = [draw(st.lists(token, min_size=columns, max_size=columns)) for _ in range(rows)]  # None off the mask
    advantages = draw(st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.3, -0.7]), min_size=rows, max_size=rows))
    junk = st.sampled_from([0.0, math.nan, math.inf, -math.inf])
    new_junk, old_junk = draw(junk), draw(junk)
    new, old = [[new_junk] * columns for _ in range(rows)], [[old_junk] * columns for _ in range(rows)]
    for i, t in ((i, t) for i in range(rows) for t in range(columns) if log_ratios[i][t] is not None):
        old[i][t] = -(i + t) / 4
        new[i][t] = old[i][t] + log_ratios[i][t]
    return new, old, advantages, [[d is not None for d in row] for row in log_ratios]


def slope(terms: Terms, new: list[float], old: list[float], advantage: float, t: int) -> tuple[float | None, float]:
    """A sequence's derivative by its token t, None with a bound within a step, and the size of the term it stands in.

    Terms are subtracted one by one: a sum with a term of e^30 would lose the others' differences.
    """
    down, here, up = (
        terms([*new[:t], new[t] + step, *new[t + 1 :]], old, advantage, new) for step in (-STEP, 0.0, STEP)
    )
    left = math.fsum(b - a for a, b in zip(down, here, strict=True)) / STEP
    right = math.fsum(b - a for a, b in zip(here, up, strict=True)) / STEP
    size = abs(here[min(t, len(here) - 1)])  # one term for each token, or one in all
    smooth = abs(right - left) <= 1e-2 * max(abs(left), abs(right)) + 1e-8 * size
    return (left + right) / 2 if smooth else None, size


def check(batch: Batch, objective: Objective, terms: Terms, share: Share) -> set[str]:
    """Compare value and gradient with the formula's; on which sides tokens were held back."""
    new, old, advantages, mask = batch
    log_probs = torch.tensor(new, dtype=torch.float64, requires_grad=True)
    old_BT, mask_BT = torch.tensor(old, dtype=torch.float64), torch.tensor(mask)
    advantages_B = torch.tensor(advantages, dtype=torch.float64)
    tokens, sequences = sum(map(sum, mask)), sum(map(any, mask))
    denominator = objective.count(mask_BT)
    assert denominator == (tokens if share is over_tokens else sequences)
    loss = objective(log_probs, old_BT, advantages_B, mask_BT, denominator.clamp(min=1))
    loss.backward()
    assert log_probs.grad is not None

    expected = [0.0]
    for i, (row, advantage) in enumerate(zip(mask, advantages, strict=True)):
        columns = [t for t, on in enumerate(row) if on]
        n, o = [new[i][t] for t in columns], [old[i][t] for t in columns]
        weight = share(len(columns), sequences, tokens) if columns else 0.0
        expected += [weight * term for term in terms(n, o, advantage, n)] if columns else []
        for t, gradient in enumerate(log_probs.grad[i].tolist()):
            if t not in columns or advantage == 0:
                assert gradient == 0
                continue
            derivative, size = slope(terms, n, o, advantage, columns.index(t))
            if derivative is None:
                assert math.isfinite(gradient)
            else:
                assert gradient == pytest.approx(weight * derivative, rel=1e-6, abs=1e-7 * weight * size)
    rounding = 1e-13 * max(map(abs, expected))
    assert loss.item() == pytest.approx(math.fsum(expected), rel=1e-9, abs=rounding)

    high, low = objective.clipped(log_probs.detach() - old_BT, advantages_B, mask_BT)
    free = mask_BT & (advantages_B != 0).unsqueeze(-1) & ~high & ~low
    return {side for side, held in ((FREE, free), (HIGH, high), (LOW, low)) if held.any()}


@pytest.mark.parametrize("family", FAMILIES)
def test_objectives_are_their_formulas(family: type) -> None:
    cases = [case for case in CASES if isinstance(case[0], family)]
    reached: dict[Objective, set[str]] = defaultdict(set)

    @settings(max_examples=80, deadline=None, derandomize=True, database=None)
    @given(batches())
    def check_all(batch: Batch) -> None:
        for objective, terms, share, _ in cases:
            reached[objective] |= check(batch, objective, terms, share)

    check_all()
    assert reached == {objective: sides for objective, _, _, sides in cases}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [EXTREME, 1000.0])
@pytest.mark.parametrize("objective", [case[0] for case in CASES], ids=str)
def test_no_log_ratio_overflows(objective: Objective, size: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (6, 64), generator=generator) * 2 - 1
    signs[:2], signs[2:4] = 1, -1
    old = -torch.rand(6, 64, generator=generator, dtype=dtype)
    log_probs = (old + size * signs).requires_grad_()
    mask = torch.ones(6, 64, dtype=torch.bool)
    loss = objective(log_probs, old, torch.tensor([1, -1] * 3, dtype=dtype), mask, objective.count(mask))
    loss.backward()
    assert log_probs.grad is not None
    assert loss.isfinite()
    assert log_probs.grad.isfinite().all()
    assert log_probs.grad.norm().isfinite()
