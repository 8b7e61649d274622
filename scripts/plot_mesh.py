"""Draw the picture of docs/parallel.md: `python scripts/plot_mesh.py PICTURE.png`."""

import sys

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from gmpo.parallel.layout import EngineLayout, Layout

LAYOUT = Layout.of(8, dp_replicate=2, dp_shard=2, cp=2)
TENSOR_PARALLEL = 2
GROUPS = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def label(axes: Axes, x: float, y: float, text: str, **style: object) -> None:
    """Write a text in the middle of a place."""
    axes.text(x, y, text, ha="center", va="center", **style)


def main() -> None:
    """Draw eight ranks as columns, with a row for each thing that they hold."""
    shares = [f"share {rank % LAYOUT.fsdp_shard} of {LAYOUT.fsdp_shard}" for rank in range(LAYOUT.world_size)]
    figure, axes = plt.subplots(figsize=(11, 4.2), layout="constrained")
    axes.set(xlim=(-2.1, LAYOUT.world_size), ylim=(-0.2, 5.2))
    axes.axis("off")
    for y, text in enumerate(("engine", "sequences", "parameters", "copy", "rank")):
        axes.text(-2.0, y + 0.5, text, ha="left", va="center", fontsize=11, weight="bold")
    for rank in range(LAYOUT.world_size):
        data_parallel, cp = divmod(rank, LAYOUT.cp)
        engine = EngineLayout(rank, LAYOUT.world_size, TENSOR_PARALLEL)
        copy = rank // LAYOUT.fsdp_shard
        color = GROUPS[data_parallel]
        cells = (
            (f"engine {engine.engine}\nhalf {rank % TENSOR_PARALLEL}", "tab:purple", 0.12 + 0.12 * engine.engine),
            (f"part {'ABCD'[data_parallel]}\ntokens {cp + 1} of {LAYOUT.cp}", color, 0.3),
            (shares[rank], "tab:gray", 0.12 + 0.12 * (rank % LAYOUT.fsdp_shard)),
            (f"copy {copy}", "tab:brown", 0.15 + 0.25 * copy),
            (str(rank), "white", 1.0),
        )
        for y, (text, face, alpha) in enumerate(cells):
            box = FancyBboxPatch(
                (rank + 0.05, y + 0.06),
                0.9,
                0.88,
                boxstyle="round,pad=0,rounding_size=0.08",
                facecolor=face,
                alpha=alpha,
            )
            axes.add_patch(box)
            label(axes, rank + 0.5, y + 0.5, text, fontsize=9)
    figure.savefig(sys.argv[1], dpi=110)


if __name__ == "__main__":
    main()
