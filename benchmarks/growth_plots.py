"""The plots of benchmarks/growth.py as SVG, alike for alike figures: no date, no random ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LABELS = {
    "batch": "operations in flight",
    "wallet": "coupons in the claimant's wallet",
    "campaigns": "campaigns",
    "live": "live coupons in Redis",
    "cells": "cells",
}
SIDES = {"client": "client CPU", "redis": "Redis time"}


def draw(points: list[dict[str, Any]], folder: Path) -> None:
    """``growth-<axis>.svg`` for each axis that was measured."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "hexiao", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    for axis, label in LABELS.items():
        found = sorted({row["axis"] for row in points if row["axis"].partition(",")[0] == axis})
        if not found:
            continue
        figure, plot = plt.subplots(figsize=(5.2, 3.0), layout="constrained")
        for number, name in enumerate(found):
            own = [row for row in points if row["axis"] == name]
            variant = name.partition(", ")[2]
            for side, color in zip(SIDES, ("C0", "C1"), strict=True):
                plot.plot(
                    [row["x"] for row in own], [row[side] for row in own],
                    marker="o", markersize=3, color=color, linestyle=("-", "--")[number % 2],
                    label=SIDES[side] + (f", {variant}" if variant else ""),
                )  # fmt: skip
        plot.set_xscale("log")
        plot.set_ylim(bottom=0)
        plot.set_xlabel(label)
        plot.set_ylabel("µs a claim")
        plot.grid(alpha=0.3)
        plot.legend(frameon=False)
        figure.savefig(folder / f"growth-{axis}.svg", metadata={"Date": None})
        plt.close(figure)
