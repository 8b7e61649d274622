"""Compare figures with their goals, as a table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """Meaning of a ratio and its goal: at most `bound`, or at least."""

    ratio: str
    meaning: str
    bound: float
    at_most: bool

    def met(self, value: float) -> bool:
        """Return whether a value reaches the goal."""
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


GOALS = (
    Goal("step_over_bound_1m", "rollout step / raw generation, passes and AdamW, 1 M parameters", 1.10, True),
    Goal("step_over_bound_10m", "the same, 10 M parameters", 1.10, True),
    Goal("trl_over_ours_1m", "TRL's step / ours, 1 M parameters", 1.2, False),
    Goal("trl_over_ours_10m", "the same, 10 M parameters", 1.2, False),
    Goal("trl_over_ours_half_zero_advantage", "the same, 1 M, half of the groups with zero advantage", 1.5, False),
    Goal("head_peak_copies", "log-probs from hidden states: peak memory in copies of the logits", 0.1, True),
    Goal("head_time_over_plain", "their time / a plain log-softmax's", 1.4, True),
    Goal(
        "zero_advantage_update_ratio",
        "update with half of the groups with zero advantage / without the skip",
        0.6,
        True,
    ),
)
GPU_GOALS = (Goal("gpu_7b_share_of_matmul", "update of a 7B shape / a bf16 product of matrices, FLOP/s", 0.5, False),)


def rows(ratios: Mapping[str, float], goals: Sequence[Goal]) -> list[tuple[str, str, str, str, str]]:
    """Return ratio, meaning, value, goal, and met, missed or "not measured"."""
    made = []
    for goal in goals:
        value = ratios.get(goal.ratio)
        shown, verdict = ("", "not measured") if value is None else (f"{value:.3f}", _verdict(goal, value))
        made.append((goal.ratio, goal.meaning, shown, str(goal), verdict))
    return made


def _verdict(goal: Goal, value: float) -> str:
    return "met" if goal.met(value) else "missed"


def table(ratios: Mapping[str, float], goals: Sequence[Goal]) -> str:
    """Return the table for a terminal."""
    lines = [("ratio", "", "value", "goal", ""), *rows(ratios, goals)]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def markdown(ratios: Mapping[str, float], goals: Sequence[Goal]) -> str:
    """Return the table for docs/performance.md."""
    lines = ["| what | ratio | goal | |", "|---|---|---|---|"]
    for name, meaning, value, goal, verdict in rows(ratios, goals):
        lines.append(f"| {meaning} (`{name}`) | {value} | {goal} | {verdict} |")
    return "\n".join(lines)


def latest(parts: Mapping[str, Mapping[str, Any]], failed: Sequence[str], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of latest.json: each ratio by its name, and beside them what it comes from.

    parts: by name, the figures of each, {"ratios": ..., "raw": ...}.
    """
    ratios = {name: value for part in parts.values() for name, value in part["ratios"].items()}
    return {**ratios, "raw": {name: part["raw"] for name, part in parts.items()}, "failed": list(failed)} | {
        "machine": dict(machine)
    }
