"""Values and gradients stored as data: of the plain formulas, and of two public implementations where they are."""

import json

import pytest
import torch
from conftest import ROOT
from hydra.utils import instantiate
from make_golden import GOLDEN, golden

from gmpo.advantages import GroupNorm, LeaveOneOut
from gmpo.objectives import CISPO, GMPO, GRPO, GSPO, HMPO, SAPO
from gmpo.objectives.kl import kl_estimate
from gmpo.objectives.objective import Objective

PUBLISHED = ROOT.parent / "shared" / "golden" / "objectives.json"  # more cases where it lies
FILES = [json.loads(path.read_text()) for path in (GOLDEN, PUBLISHED) if path.is_file()]
POLICY, ADVANTAGES, KL = ([case for file in FILES for case in file[part]] for part in ("policy", "advantages", "kl"))

AGGREGATIONS = {
    "token-mean": "token_mean",
    "seq-mean-token-mean": "sequence_mean",
    "seq-mean-token-sum": "sequence_sum",
    "seq-mean-token-sum-norm": "sequence_sum_norm",
}


def objective_of(case: dict) -> Objective:
    if isinstance(case["objective"], dict):
        return instantiate(case["objective"])
    params, tokens = case["params"], len(case["mask"][0])
    match case["objective"]:
        case "geo_mean":
            return GMPO(params["lo"], params["hi"])
        case "gmpo_official_token":
            return GMPO(params["clip"], params["clip"])
        case "gmpo_official_noclip":
            return GMPO(params["clip"], params["clip"], clip_level="none")
        case "gmpo_official_seqclip":
            return GMPO(params["clip"], params["clip"], clip_level="sequence")
        case "gmpo_official_without_norm":
            return GMPO(params["clip"], params["clip"], length_normalize=False)
        case "vanilla":
            aggregation = AGGREGATIONS[params["loss_aggregation"]]
            horizon = tokens if aggregation == "sequence_sum_norm" else None
            return GRPO(params["lo"], params["hi"], params["c"], aggregation, horizon)  # type: ignore[arg-type]
        case "gmpo_official_harmonic":
            return HMPO(params["clip"], params["clip"])
        case "gspo":
            return GSPO(params["lo"], params["hi"])
        case "cispo":
            return CISPO(params["lo"], params["hi"])
        case "sapo":
            return SAPO(params["tp"], params["tn"])
    raise AssertionError(f"no objective of ours for {case['objective']}")


def estimator_of(case: dict) -> GroupNorm | LeaveOneOut:
    if isinstance(case["estimator"], dict):
        return instantiate(case["estimator"])
    return GroupNorm(**case["params"]) if case["estimator"] == "grpo" else LeaveOneOut()


@pytest.mark.parametrize("case", POLICY, ids=lambda case: case["name"])
def test_policy_loss_and_gradient(case: dict) -> None:
    objective = objective_of(case)
    log_probs = torch.tensor(case["log_probs"], dtype=torch.float64, requires_grad=True)
    old_log_probs = torch.tensor(case["old_log_probs"], dtype=torch.float64)
    advantages = torch.tensor(case["advantages"], dtype=torch.float64)
    mask = torch.tensor(case["mask"], dtype=torch.bool)
    loss = objective(log_probs, old_log_probs, advantages, mask, objective.count(mask))
    loss.backward()
    assert loss.item() == pytest.approx(case["expected"]["loss"], rel=1e-6)
    expected = torch.tensor(case["expected"]["grad_log_probs"], dtype=torch.float64)
    assert log_probs.grad is not None
    torch.testing.assert_close(log_probs.grad, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("case", ADVANTAGES, ids=lambda case: case["name"])
def test_advantages(case: dict) -> None:
    rewards = torch.tensor(case["rewards"], dtype=torch.float64)
    estimator = estimator_of(case)
    expected = torch.tensor(case["expected"]["advantages"], dtype=torch.float64)
    torch.testing.assert_close(estimator(rewards, torch.tensor(case["group_ids"])), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", KL, ids=lambda case: case["name"])
def test_kl(case: dict) -> None:
    log_probs = torch.tensor(case["log_probs"], dtype=torch.float64, requires_grad=True)
    kl = kl_estimate(log_probs, torch.tensor(case["ref_log_probs"], dtype=torch.float64), case["kind"])
    kl.sum().backward()
    torch.testing.assert_close(kl, torch.tensor(case["expected"]["kl"], dtype=torch.float64), rtol=1e-6, atol=1e-12)
    expected = torch.tensor(case["expected"]["grad_log_probs"], dtype=torch.float64)
    assert log_probs.grad is not None
    torch.testing.assert_close(log_probs.grad, expected, rtol=1e-6, atol=1e-12)


def test_the_stored_numbers_are_those_of_the_formulas() -> None:
    stored = json.loads(GOLDEN.read_text())
    for part, computed in golden().items():
        by_name = {case["name"]: case for case in computed}
        assert stored[part]
        for case in stored[part]:
            current = by_name[case["name"]]
            assert {**case, "expected": None} == {**current, "expected": None}
            for name, numbers in case["expected"].items():
                expected = torch.tensor(current["expected"][name], dtype=torch.float64)
                torch.testing.assert_close(torch.tensor(numbers, dtype=torch.float64), expected, rtol=1e-6, atol=1e-9)
