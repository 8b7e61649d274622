"""The whole loss: an objective, a KL penalty, an entropy bonus and a correction, all over one denominator."""

import math
from dataclasses import replace

import pytest
import torch
from formulas import CASES, NAMES
from formulas.formula import Case
from torch import Tensor

from gmpo.objectives import GMPO, GRPO, ImportanceSampling, KLPenalty, PolicyLoss
from gmpo.objectives.kl import kl_estimate
from gmpo.objectives.objective import Objective
from gmpo.types import MicroBatch, MiniBatch

LENGTHS = (1, 4, 7, 0, 3, 6)
KINDS = ("k1", "k2", "k3", "abs")
OBJECTIVES = [case.objective for case in CASES]


def batch() -> tuple[Tensor, Tensor, MicroBatch]:
    """log_probs and entropy [B, T], and the rest, in float64; the fourth row has no token."""
    generator = torch.Generator().manual_seed(0)
    shape = (len(LENGTHS), max(LENGTHS))

    def noise() -> Tensor:
        return 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)

    old = noise() - 2
    advantages = torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0, -0.7], dtype=torch.float64)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(-1)
    ids, lengths = torch.zeros(shape, dtype=torch.long), torch.tensor(LENGTHS)
    rest = MicroBatch(ids, lengths, mask, advantages, old + noise(), old, old + noise())
    return (old + noise()).requires_grad_(), noise().abs().requires_grad_(), rest


def part(whole: MicroBatch, rows: list[int]) -> MicroBatch:
    columns = (whole.token_ids, whole.lengths, whole.mask, whole.advantages, whole.rollout_log_probs)
    assert whole.old_log_probs is not None
    assert whole.ref_log_probs is not None
    return MicroBatch(*(column[rows] for column in (*columns, whole.old_log_probs, whole.ref_log_probs)))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize("placement", ["loss", "reward"])
def test_loss_is_the_sum_of_its_terms(case: Case, placement: str) -> None:
    objective, tokens, sequences = case.objective, sum(LENGTHS), sum(map(bool, LENGTHS))
    log_probs, entropy, rest = batch()
    assert rest.old_log_probs is not None
    assert rest.ref_log_probs is not None
    correction = ImportanceSampling("mask", "token", 0.5, 2.0)
    weights = correction(rest.old_log_probs, rest.rollout_log_probs, rest.mask)
    count = tokens if case.per_token else sequences
    expected = objective(
        log_probs, rest.old_log_probs, rest.advantages, rest.mask, torch.tensor(float(count)), weights
    ).item()
    for i, length in enumerate(LENGTHS):
        for t in range(length):
            share = case.token_weight(length, sequences, tokens)
            d = (log_probs[i, t] - rest.ref_log_probs[i, t]).item()
            if placement == "loss":
                expected += 0.3 * share * (math.exp(-d) - 1 + d)
            expected -= 0.7 * share * entropy[i, t].item()
    loss = PolicyLoss(objective, KLPenalty(0.3, "k3", placement), 0.7, correction)  # type: ignore[arg-type]
    denominator = loss.count(MiniBatch([rest], rest.mask[:0]))
    assert denominator == count
    assert loss(log_probs, entropy, rest, denominator).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_loss_and_gradient_do_not_depend_on_the_cut(objective: Objective) -> None:
    loss = PolicyLoss(objective, KLPenalty(0.3, "k3+"), 0.7, ImportanceSampling("truncate", "sequence", 0.5, 2.0))

    def cut(parts: list[list[int]]) -> list[Tensor]:
        log_probs, entropy, rest = batch()
        denominator = loss.count(MiniBatch([part(rest, rows) for rows in parts], rest.mask[:0]))
        losses = [loss(log_probs[rows], entropy[rows], part(rest, rows), denominator) for rows in parts]
        total = torch.stack(losses).sum()
        return [total, *torch.autograd.grad(total, [log_probs, entropy])]

    whole = cut([[0, 1, 2, 3, 4, 5]])
    for parts in ([[0, 1, 2], [3, 4, 5]], [[5, 0], [2], [1, 4, 3]], [[i] for i in range(6)]):
        torch.testing.assert_close(cut(parts), whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_what_the_mask_hides_counts_for_nothing(objective: Objective) -> None:
    loss = PolicyLoss(objective, KLPenalty(0.3, "k3+"), 0.7, ImportanceSampling("mask", "token", 0.5, 2.0))
    results = []
    for junk in (0.0, math.nan):
        log_probs, entropy, rest = batch()
        old, ref, rollout, off = rest.old_log_probs, rest.ref_log_probs, rest.rollout_log_probs, ~rest.mask
        for values in (log_probs.data, entropy.data, old, ref, rollout):
            assert values is not None
            values[off] = junk
        total = loss(log_probs, entropy, rest, objective.count(rest.mask))
        total.backward()
        assert log_probs.grad is not None
        assert entropy.grad is not None
        assert not log_probs.grad[off].any()
        assert not entropy.grad[off].any()
        results.append((total, log_probs.grad, entropy.grad))
    assert all(torch.equal(clean, hidden) for clean, hidden in zip(*results, strict=True))


def test_idle_sequences_count() -> None:
    _, _, rest = batch()
    mini_batch = MiniBatch([part(rest, [0, 1]), part(rest, [2, 3])], rest.mask[4:])
    assert PolicyLoss(GMPO()).count(mini_batch) == 5
    assert PolicyLoss(GRPO()).count(mini_batch) == sum(LENGTHS)
    assert PolicyLoss(GRPO()).count(MiniBatch([], rest.mask)) == sum(LENGTHS)


def test_skipping_idle_sequences_changes_nothing() -> None:
    """A sequence of advantage 0 may skip the model when, and only when, the loss has no other term."""
    log_probs, entropy, rest = batch()
    everything, learning = [0, 1, 2, 3, 4, 5], [0, 1, 2, 5]
    for loss in (PolicyLoss(GMPO()), PolicyLoss(GMPO(), KLPenalty(0.3)), PolicyLoss(GMPO(), entropy_coefficient=0.7)):
        whole, fewer = (
            torch.autograd.grad(
                loss(log_probs[rows], entropy[rows], part(rest, rows), loss.count(MiniBatch([rest], rest.mask[:0]))),
                [log_probs, entropy],
                materialize_grads=True,
            )
            for rows in (everything, learning)
        )
        same = all(torch.equal(a, b) for a, b in zip(whole, fewer, strict=True))
        assert same != loss.learns_from_zero_advantage


@pytest.mark.parametrize(
    ("loss", "from_zero_advantage", "without_rewards"),
    [
        (PolicyLoss(GMPO()), False, False),
        (PolicyLoss(GMPO(), KLPenalty(0.0, placement="reward")), False, False),
        (PolicyLoss(GMPO(), KLPenalty(0.1, placement="reward")), False, True),
        (PolicyLoss(GMPO(), KLPenalty(0.1)), True, True),
        (PolicyLoss(GMPO(), entropy_coefficient=-0.1), True, True),
    ],
)
def test_what_there_is_to_learn_from(loss: PolicyLoss, from_zero_advantage: bool, without_rewards: bool) -> None:
    assert loss.learns_from_zero_advantage == from_zero_advantage
    assert loss.learns_without_rewards == without_rewards


def test_entropy_and_reference_are_needed_only_by_their_terms() -> None:
    log_probs, _, rest = batch()
    assert rest.old_log_probs is not None
    alone = replace(rest, ref_log_probs=None)
    denominator = GMPO().count(rest.mask)
    expected = GMPO()(log_probs, rest.old_log_probs, rest.advantages, rest.mask, denominator)
    for loss in (PolicyLoss(GMPO()), PolicyLoss(GMPO(), KLPenalty(0.1, placement="reward"))):
        assert torch.equal(loss(log_probs, None, alone, denominator), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_kl_kinds_have_the_value_and_the_gradient_they_promise(kind: str) -> None:
    points = [0.0, 1e-4, -1e-4, 0.7, -0.7, 30.0, -30.0]
    value, slope = {
        "k1": (lambda d: d, lambda d: 1),
        "k2": (lambda d: d * d / 2, lambda d: d),
        "k3": (lambda d: math.expm1(-d) + d, lambda d: -math.expm1(-d)),
        "abs": (abs, lambda d: (d > 0) - (d < 0)),
    }[kind]
    for name, gradient in ((kind, slope), (f"{kind}+", lambda d: d)):
        log_probs = torch.tensor([points], dtype=torch.float64, requires_grad=True)
        estimate = kl_estimate(log_probs, torch.zeros(1, len(points), dtype=torch.float64), name)
        estimate.sum().backward()
        assert log_probs.grad is not None
        assert estimate[0].tolist() == pytest.approx([value(d) for d in points], rel=1e-12, abs=1e-15)
        assert log_probs.grad[0].tolist() == pytest.approx([gradient(d) for d in points], rel=1e-12)


@pytest.mark.parametrize("kind", [*KINDS, *(f"{kind}+" for kind in KINDS)])
def test_kl_of_any_gap_is_finite_in_float32(kind: str) -> None:
    log_probs = torch.tensor([[100.0, -100.0]], requires_grad=True)
    estimate = kl_estimate(log_probs, torch.zeros(1, 2), kind)
    estimate.sum().backward()
    assert log_probs.grad is not None
    assert estimate.isfinite().all()
    assert log_probs.grad.isfinite().all()


def test_kl_penalty_is_in_one_place() -> None:
    off, loss, reward = KLPenalty(), KLPenalty(0.1), KLPenalty(0.1, placement="reward")
    assert (off.needs_reference, off.in_loss, off.in_reward) == (False, False, False)
    assert (loss.needs_reference, loss.in_loss, loss.in_reward) == (True, True, False)
    assert (reward.needs_reference, reward.in_loss, reward.in_reward) == (True, False, True)
    assert not replace(reward, coefficient=0.0).in_reward


def test_kl_of_a_response_is_the_sum_over_its_tokens() -> None:
    old, ref = [-1.0, -0.5, -3.0], [-1.5, -0.25, -3.0]
    expected = 0.1 * sum(math.exp(b - a) - 1 + a - b for a, b in zip(old, ref, strict=True))
    penalty = KLPenalty(0.1, "k3+", "reward").of_response(torch.tensor(old), torch.tensor(ref))
    assert penalty == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"coefficient": -0.1}, "kl.coefficient=-0.1"),
        ({"coefficient": math.nan}, "kl.coefficient=nan"),
        ({"kind": "k4"}, "k1, k2, k3, abs.*'k4'"),
        ({"kind": "k3++"}, "'k3[+][+]'"),
        ({"placement": "token"}, "kl.placement.*'token'"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        KLPenalty(**values)  # type: ignore[arg-type]


def test_an_entropy_coefficient_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"entropy.coefficient=off"):
        PolicyLoss(GMPO(), entropy_coefficient="off")  # type: ignore[arg-type]
