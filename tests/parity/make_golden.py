"""Write golden.json: numbers of the plain formulas, frozen, so that a change of formula and code together is seen.

    PYTHONPATH=tests .venv/bin/python tests/parity/make_golden.py

Gradients are central differences of the formulas in float64, good to about 1e-9.
"""

import json
import math
import random
import statistics
from dataclasses import asdict
from pathlib import Path

from formulas import CASES
from formulas.formula import Case

GOLDEN = Path(__file__).with_name("golden.json")
ROWS, COLUMNS, STEP = 5, 6, 1e-6
SPREADS = (0.001, 0.5)  # of the log-ratios; GSPO's default range is thousandths wide
Rows = list[list[float]]
KL = {
    "k1": lambda d: d,
    "k2": lambda d: d * d / 2,
    "k3": lambda d: math.exp(-d) - 1 + d,
    "abs": abs,
}


def policy_case(case: Case, spread: float) -> dict[str, object]:
    """Draw a batch with holes, an empty row and an advantage of 0, and return it with its loss and gradient."""
    name = f"{case.name}-{spread}"
    draw = random.Random(name)
    mask = [[row != 3 and draw.random() < 0.8 for _ in range(COLUMNS)] for row in range(ROWS)]
    old = [[round(-draw.uniform(0, 3), 5) for _ in range(COLUMNS)] for _ in range(ROWS)]
    new = [[round(o + draw.gauss(0, spread), 5) for o in row] for row in old]
    advantages = [1.0, -1.0, 0.0, 0.5, -0.7]
    sequences, tokens = sum(map(any, mask)), sum(map(sum, mask))
    loss, gradient = [0.0], [[0.0] * COLUMNS for _ in range(ROWS)]
    for row, on in enumerate(mask):
        columns = [t for t in range(COLUMNS) if on[t]]
        n, o, advantage = [new[row][t] for t in columns], [old[row][t] for t in columns], advantages[row]
        if not columns:
            continue
        weight = case.weight(len(n), sequences, tokens)
        loss += [weight * term for term in case.terms(n, o, advantage, n)]
        for i, t in enumerate(columns):
            up, down = ([*n[:i], n[i] + step, *n[i + 1 :]] for step in (STEP, -STEP))
            terms = zip(case.terms(up, o, advantage, n), case.terms(down, o, advantage, n), strict=True)
            gradient[row][t] = weight * math.fsum(a - b for a, b in terms) / (2 * STEP)
    return {
        "name": name,
        "objective": {"_target_": f"gmpo.objectives.{type(case.objective).__name__}", **asdict(case.objective)},
        "log_probs": new,
        "old_log_probs": old,
        "advantages": advantages,
        "mask": mask,
        "expected": {"loss": math.fsum(loss), "grad_log_probs": [[round(g, 10) for g in row] for row in gradient]},
    }


def advantage_cases() -> list[dict[str, object]]:
    """Groups of three, two and one, mixed; a group of equal rewards."""
    rewards, group_ids = [1.0, 0.0, 0.5, 2.0, 0.0, 1.0, 0.1, 0.1, 3.0], [7, 2, 7, 2, 7, 5, 4, 4, 2]
    groups = {g: [r for r, other in zip(rewards, group_ids, strict=True) if other == g] for g in group_ids}

    def centred(reward: float, group: list[float]) -> float:
        return reward - statistics.fmean(group)

    def normalized(reward: float, group: list[float]) -> float:
        return centred(reward, group) / (statistics.stdev(group) + 1e-6)

    def left_out(reward: float, group: list[float]) -> float:
        return reward - (math.fsum(group) - reward) / (len(group) - 1)

    made: list[dict[str, object]] = []
    for target, settings, formula in (
        ("GroupNorm", {"normalize_by_std": True}, normalized),
        ("GroupNorm", {"normalize_by_std": False}, centred),
        ("LeaveOneOut", {}, left_out),
    ):
        pairs = zip(rewards, group_ids, strict=True)
        expected = [formula(r, groups[g]) if len({*groups[g]}) > 1 else 0.0 for r, g in pairs]
        estimator = {"_target_": f"gmpo.advantages.{target}", **settings}
        name = "-".join([target, *map(str, settings.values())])
        made.append({"name": name, "estimator": estimator, "rewards": rewards, "group_ids": group_ids})
        made[-1]["expected"] = {"advantages": expected}
    return made


def kl_cases() -> list[dict[str, object]]:
    """Each kind, plain and with the gradient of k2."""
    log_probs: Rows = [[-0.5, -1.25, -3.0, -0.01], [-2.0, -0.75, -0.3, -4.0]]
    ref_log_probs: Rows = [[-0.7, -1.0, -0.5, -0.02], [-2.5, -0.25, -0.9, -1.5]]
    d = [[a - b for a, b in zip(*rows, strict=True)] for rows in zip(log_probs, ref_log_probs, strict=True)]
    made: list[dict[str, object]] = []
    for kind, value in KL.items():
        for suffix, of_gradient in (("", value), ("+", KL["k2"])):
            slope = [[(of_gradient(x + STEP) - of_gradient(x - STEP)) / (2 * STEP) for x in row] for row in d]
            expected = {"kl": [[value(x) for x in row] for row in d], "grad_log_probs": slope}
            inputs = {"log_probs": log_probs, "ref_log_probs": ref_log_probs}
            made.append({"name": kind + suffix, "kind": kind + suffix, **inputs, "expected": expected})
    return made


def golden() -> dict[str, list[dict[str, object]]]:
    policy = [policy_case(case, spread) for case in CASES for spread in SPREADS]
    return {"policy": policy, "advantages": advantage_cases(), "kl": kl_cases()}


if __name__ == "__main__":
    lines = (f'"{part}": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]" for part, cases in golden().items())
    GOLDEN.write_text("{" + ",\n".join(lines) + "}\n")
