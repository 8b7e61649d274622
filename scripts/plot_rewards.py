"""Plot the reward curve of a run: `python scripts/plot_rewards.py RUN_FOLDER PICTURE.png`."""

import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt


def column(rows: list[dict[str, str]], name: str) -> tuple[list[int], list[float]]:
    """Return rollout steps and values of the rows that have this column."""
    found = [(int(row["rollout_step"]), float(row[name])) for row in rows if row.get(name)]
    return [step for step, _ in found], [value for _, value in found]


def main() -> None:
    """Draw reward/mean, validation and the range of the log-ratio."""
    folder, picture = Path(sys.argv[1]), sys.argv[2]
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    validation = next(name for name in rows[0] if name.startswith("val/") and "/mean@" in name)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    left.plot(*column(rows, "reward/mean"), label="reward/mean", color="tab:blue", alpha=0.7)
    left.plot(*column(rows, validation), "o-", label=validation, color="tab:orange")
    left.set(xlabel="rollout step", ylabel="share solved", ylim=(0, 1))
    left.legend(loc="lower right")
    steps, low = column(rows, "policy/log_ratio_min")
    _, high = column(rows, "policy/log_ratio_max")
    right.fill_between(steps, low, high, alpha=0.3, color="tab:green", label="min to max")
    right.plot(*column(rows, "policy/log_ratio_mean"), color="tab:green", label="mean")
    right.set(xlabel="rollout step", ylabel="log-ratio of response tokens")
    right.legend(loc="lower right")
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
