"""Measure how the cost of update and generation grows: `python benchmarks/growth.py [--rounds 2] [--no-ranks]`.

Varies one of response length, group size, vocabulary and model size at a time and fits the exponent e of seconds ~ xᵉ
(least squares of the logarithms), beside that of the multiplications that theory counts at the same points: each token
meets each parameter of the matrix products, and attends to the tokens before it. Models are random and seldom end a
response. Ranks: a rollout step of the quickstart on one and on two, with one thread each, where theory has -1.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log
from pathlib import Path
from statistics import fmean, median
from typing import Any

from growth_points import Point, measured
from results import hand_on, parser
from step_time import run_steps
from work import QUIET

BASE = Point()
VARIED: dict[str, list[Point]] = {
    "response length": [replace(BASE, response=n) for n in (16, 64, 256)],
    "group size": [replace(BASE, group=n) for n in (4, 16, 64)],
    "vocabulary": [replace(BASE, vocabulary=n) for n in (1024, 8192, 65536)],
    "model size": [replace(BASE, hidden=n) for n in (128, 256, 512)],
}
X: dict[str, Callable[[Point], float]] = {
    "response length": lambda point: point.response,
    "group size": lambda point: point.group,
    "vocabulary": lambda point: point.vocabulary,
    "model size": lambda point: point.parameters,
}
STAGES = ("update", "generate")


@dataclass(frozen=True)
class Exponents:
    """Exponents of one varied quantity, for one stage."""

    measured: float
    theory: float
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, print and write the figures."""
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=2, help="rounds, of which the median counts")
    asked.add_argument("--no-ranks", action="store_true")
    given = asked.parse_args()
    points = sorted({point for varied in VARIED.values() for point in varied}, key=lambda point: point.model)
    seconds = measured(points, given.rounds)
    lines = {
        (name, stage): exponents(X[name], varied, seconds, stage) for name, varied in VARIED.items() for stage in STAGES
    }
    if not given.no_ranks:
        lines |= of_ranks()
    print(f"{'what grows':<16} {'stage':<9} {'exponent':>8} {'theory':>7}  seconds")
    for (name, stage), found in lines.items():
        shown = " ".join(f"{value:.3f}" for value in found.seconds)
        print(f"{name:<16} {stage:<9} {found.measured:>8.2f} {found.theory:>7.2f}  {shown}")
    raw = {f"{name}, {stage}": vars(found) for (name, stage), found in lines.items()}
    hand_on(given.json, {}, raw)


def exponents(
    x: Callable[[Point], float], points: Sequence[Point], seconds: Mapping[Point, Mapping[str, float]], stage: str
) -> Exponents:
    """Return the exponents of seconds and of multiplications at the same points."""
    at = [x(point) for point in points]
    took = [seconds[point][stage] for point in points]
    return Exponents(slope(at, took), slope(at, [point.work for point in points]), took)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the slope of the line through the logarithms, by least squares."""
    u, v = [log(value) for value in x], [log(value) for value in y]
    middle, height = fmean(u), fmean(v)
    return sum((a - middle) * (b - height) for a, b in zip(u, v, strict=True)) / sum((a - middle) ** 2 for a in u)


def of_ranks() -> dict[tuple[str, str], Exponents]:
    """Return medians of a few steps on one rank and on two."""
    rows: list[list[dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, overrides in enumerate((("cluster=cpu", "cluster.threads=1"), ("cluster=cpu2",))):
            rows.append(run_steps(Path(folder, str(number)), *overrides, *QUIET, steps=4))
    found = {}
    for stage in STAGES:
        took = [median(float(row[f"time/{stage}"]) for row in steps) for steps in rows]
        found["ranks", stage] = Exponents(slope([1, 2], took), -1.0, took)
    return found


if __name__ == "__main__":
    main()
