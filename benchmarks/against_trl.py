"""Compare our rollout step with TRL's: `python benchmarks/against_trl.py [--size 1m] [--steps 5] [override ...]`.

Both sides train the same model on the same prompts by GMPO, with vLLM in the process. Each runs in its own process, and
they alternate, one rollout step at a time, so that both see the same load. In the first part every group carries a
signal, in the second half of them do. Prints the median seconds of a step and their ratio; docs/performance.md
describes each side.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from results import hand_on, parser
from same_work import ALL, HALF, THREADS
from sides import Report, started
from trl_environment import python_of
from work import ROOT, SIZES, make_model, write_problems

Reports = dict[str, dict[str, list[Report]]]  # by share of groups with a signal, and side


def main() -> None:
    """Measure, print and write the figures."""
    asked = parser(__doc__)
    asked.add_argument("--size", choices=SIZES, default="1m")
    asked.add_argument("--steps", type=int, default=4, help="rollout steps that count")
    asked.add_argument("--half", type=int, default=4, help="rollout steps that count with half of the signal; may be 0")
    asked.add_argument("--warm-up", type=int, default=2, help="rollout steps before, for warm-up")
    asked.add_argument("overrides", nargs="*", help="overrides of our side")
    given = asked.parse_args()
    size = given.size
    reports = compared(size, {ALL: given.steps, HALF: given.half}, given.warm_up, given.overrides)
    ratios: dict[str, float] = {}
    raw: dict[str, Any] = {}
    for share, name in ((ALL, f"trl_over_ours_{size}"), (HALF, half_zero_advantage_name(size))):
        if not reports[share]["ours"]:
            continue
        figures = of_sides(reports[share])
        ratios[name] = figures["ratio"]
        raw[name] = figures | {"steps": reports[share]}
        print(
            f"{size}, {share} groups with a signal: ours {figures['ours']:.2f} s a step, TRL {figures['trl']:.2f} s, "
            f"ratio {figures['ratio']:.3f} (of turns: {figures['least']:.2f} to {figures['most']:.2f}); "
            f"response tokens {figures['ours_tokens']:.0f} and {figures['trl_tokens']:.0f}",
            flush=True,
        )
    hand_on(given.json, ratios, raw)


def half_zero_advantage_name(size: str) -> str:
    """Return the name of the ratio; the goal is for the smallest model, which has the plain name."""
    return "trl_over_ours_half_zero_advantage" + ("" if size == "1m" else f"_{size}")


def of_sides(reports: dict[str, list[Report]]) -> dict[str, float]:
    """Return medians, and the ratio: the median over turns of TRL's seconds by ours in the same turn."""
    seconds = {side: [float(step["seconds"]) for step in steps] for side, steps in reports.items()}
    of_turns = [trl / ours for ours, trl in zip(seconds["ours"], seconds["trl"], strict=True)]
    return {
        "ratio": median(of_turns),
        "least": min(of_turns),
        "most": max(of_turns),
        **{side: median(values) for side, values in seconds.items()},
        **{f"{side}_tokens": median(float(step["tokens"]) for step in steps) for side, steps in reports.items()},
    }


def compared(size: str, steps: Mapping[str, int], warm_up: int, overrides: Sequence[str]) -> Reports:
    """Return what both sides report of the steps that count."""
    model, python = make_model(size), python_of()
    reports: Reports = {ALL: {"ours": [], "trl": []}, HALF: {"ours": [], "trl": []}}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        problems = Path(folder, "problems.jsonl")
        write_problems(problems)
        sides = {}
        for name, (interpreter, script, *further) in {
            "ours": (sys.executable, "our_side.py", *overrides),
            "trl": (str(python), "trl_side.py", "--model", model),
        }.items():
            command = [interpreter, str(ROOT / "benchmarks" / script), *further]
            command += ["--size", size, "--problems", str(problems)]
            sides[name] = stack.enter_context(started(name, command, Path(folder, name), THREADS[size]))
        for side in sides.values():
            side.wait()
        for share, before in ((ALL, warm_up), (HALF, 0)):
            for number in range(before + steps[share]):
                for name, side in sides.items():
                    report = side.step(share)
                    if number >= before:
                        reports[share][name].append(report)
    return reports


if __name__ == "__main__":
    main()
