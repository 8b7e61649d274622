"""Every objective against its paper's formula, on drawn batches with extremes."""

import math
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import ROOT
from formulas import CASES, MODULES, NAMES
from formulas.formula import FREE, HIGH, LOW, STEP, Case, Terms
from hydra.utils import get_class
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

Rows = list[list[float]]
Batch = tuple[Rows, Rows, list[float], list[list[bool]]]  # log_probs, old_log_probs, advantages, mask

EXTREME = 30.0
FAMILIES = [module for module in MODULES if "CASES" in vars(module)]


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


def check(batch: Batch, case: Case) -> set[str]:
    """Compare value and gradient with the formula's; on which sides tokens were held back."""
    new, old, advantages, mask = batch
    objective, terms = case.objective, case.terms
    log_probs = torch.tensor(new, dtype=torch.float64, requires_grad=True)
    old_BT, mask_BT = torch.tensor(old, dtype=torch.float64), torch.tensor(mask)
    advantages_B = torch.tensor(advantages, dtype=torch.float64)
    tokens, sequences = sum(map(sum, mask)), sum(map(any, mask))
    denominator = objective.count(mask_BT)
    assert denominator == (tokens if case.per_token else sequences)
    loss = objective(log_probs, old_BT, advantages_B, mask_BT, denominator.clamp(min=1))
    loss.backward()
    assert log_probs.grad is not None

    expected = [0.0]
    for i, (row, advantage) in enumerate(zip(mask, advantages, strict=True)):
        columns = [t for t, on in enumerate(row) if on]
        n, o = [new[i][t] for t in columns], [old[i][t] for t in columns]
        weight = case.weight(len(columns), sequences, tokens) if columns else 0.0
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


@pytest.mark.parametrize("family", FAMILIES, ids=lambda module: module.__name__)
def test_objectives_are_their_formulas(family: ModuleType) -> None:
    reached: dict[str, set[str]] = defaultdict(set)

    @settings(max_examples=80, deadline=None, derandomize=True, database=None)
    @given(batches())
    def check_all(batch: Batch) -> None:
        for case in family.CASES:
            reached[case.name] |= check(batch, case)

    check_all()
    assert reached == {case.name: case.sides for case in family.CASES}


@pytest.mark.parametrize("config", sorted((ROOT / "configs" / "objective").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configured_objective_has_a_formula(config: Path) -> None:
    chain = OmegaConf.load(config)
    while "_target_" not in chain:
        chain = OmegaConf.load(config.with_name(f"{chain.defaults[0]}.yaml"))
    kind = get_class(chain["_target_"])
    assert any(type(case.objective) is kind for case in CASES), f"add {kind.__name__} to tests/formulas/"


def test_names_of_cases_are_distinct() -> None:
    assert len(NAMES) == len({*NAMES}) > len(FAMILIES) > 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [EXTREME, 1000.0])
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_no_log_ratio_overflows(case: Case, size: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (6, 64), generator=generator) * 2 - 1
    signs[:2], signs[2:4] = 1, -1
    old = -torch.rand(6, 64, generator=generator, dtype=dtype)
    log_probs = (old + size * signs).requires_grad_()
    mask = torch.ones(6, 64, dtype=torch.bool)
    advantages = torch.tensor([1, -1] * 3, dtype=dtype)
    loss = case.objective(log_probs, old, advantages, mask, case.objective.count(mask))
    loss.backward()
    assert log_probs.grad is not None
    assert loss.isfinite()
    assert log_probs.grad.isfinite().all()
    assert log_probs.grad.norm().isfinite()
