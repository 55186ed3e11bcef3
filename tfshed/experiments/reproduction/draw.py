"""Draws the figures as the paper has them, with the controls it lacks; small PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfshed.core.extras import need
from tfshed.experiments.analysis.blocks import relative_threshold
from tfshed.experiments.analysis.kept_sets import chance_iou, iou
from tfshed.experiments.reproduction.figures import Figure
from tfshed.experiments.reproduction.kept_sets import blocks_kept, kept, norm_counts
from tfshed.experiments.reproduction.records import Arm
from tfshed.observe.plots import COLORS
from tfshed.observe.replace_file import replace_file

# A picture of 7 x 8 inches has some tens of kilobytes.
DPI = 80
KEEP = 0.15


def draw(figure: Figure, arms: Mapping[str, Arm], path: Path, title: str) -> None:
    """Draws one figure: means over seeds as lines, their range as bands.

    Args:
        figure: Which one.
        arms: The runs of its arms, by name.
        path: Of the PNG file.
        title: The title of the picture.
    """
    new_canvas = need("matplotlib.figure", "The figures of the reproduction").Figure

    panels = ["accuracy", "rate", "keep"]
    panels += ["overlap"] if figure.overlaps else []
    panels += ["pmf"] if figure.blocks else []
    canvas = new_canvas(figsize=(7, 2.1 * len(panels) + 1), layout="constrained")
    heights = [1 if panel == "rate" else 2 for panel in panels]
    axes = dict(zip(panels, canvas.subplots(len(panels), 1, height_ratios=heights)))
    for i, name in enumerate([*figure.curves, *figure.controls]):
        style = {
            "color": COLORS[i % len(COLORS)],
            "linestyle": "-" if name in figure.curves else ":",
            "linewidth": 1.3,
        }
        _curve(axes["accuracy"], arms[name], "val_accuracy", style, name)
        _curve(axes["keep"], arms[name], "actual", style)
        target = {**style, "linestyle": "--", "linewidth": 0.7}
        _curve(axes["keep"], arms[name], "target", target, band=False)
        _curve(axes["rate"], arms[name], "learning_rate", style, band=False)
    axes["accuracy"].set_ylabel("top-1")
    axes["rate"].set_ylabel("rate")
    axes["rate"].set_yscale("log")
    axes["keep"].set_ylabel("keep-ratio\n(dashed: target)")
    if "overlap" in axes:
        _overlaps(axes["overlap"], figure, arms)
    if "pmf" in axes:
        _pmf(axes["pmf"], figure, arms)
    for name, panel in axes.items():
        panel.grid(alpha=0.3)
        if name != "pmf":
            panel.set_xlabel("epochs" if name == panels[-1] or "pmf" in axes else "")
    named = axes["accuracy"].get_legend_handles_labels()
    canvas.legend(*named, loc="outside upper center", ncols=2, fontsize=8, title=title)
    replace_file(path, lambda beside: canvas.savefig(beside, dpi=DPI, format="png"))


def _curve(
    axes: Any, arm: Arm, column: str, style: dict[str, Any], label: str = "", band: bool = True
) -> None:
    mean, low, high = arm.mean_curve(column)
    epochs = np.arange(1, len(mean) + 1)
    axes.plot(epochs, mean, label=label or None, **style)
    if band:
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.12, linewidth=0)


def _overlaps(axes: Any, figure: Figure, arms: Mapping[str, Arm]) -> None:
    """IoU over the epochs that both runs have kept, and the line of chance."""
    chance = []
    for i, (one, other) in enumerate(figure.overlaps):
        seeds = arms[one].seeds & arms[other].seeds
        pairs = list(zip(*(arms[name].of_seeds(seeds) for name in (one, other)), strict=True))
        if not pairs:
            continue
        epochs = [e for e in pairs[0][0].kept_epochs if e in pairs[0][1].kept_epochs and e]
        found = []
        for first, second in pairs:
            line = []
            for epoch in epochs:
                sets = first.weights(epoch), second.weights(epoch)
                line.append(iou(*(map(blocks_kept if figure.blocks else kept, sets))))
            found.append(line)
        ratio = arms[other].mean_curve("actual")[0][[epoch - 1 for epoch in epochs]]
        chance = list(zip(epochs, map(chance_iou, ratio)))
        color = COLORS[i % len(COLORS)]
        axes.plot(
            epochs, np.mean(found, axis=0), color=color, marker="o", ms=3, label=f"{one} / {other}"
        )
        axes.fill_between(
            epochs, np.min(found, axis=0), np.max(found, axis=0), color=color, alpha=0.12
        )
    if chance:
        axes.plot(*zip(*chance), color="0.3", linestyle="--", linewidth=0.8, label="chance")
    axes.set_ylabel("IoU of kept " + ("blocks" if figure.blocks else "weights"))
    # Room for the legend above the lines.
    axes.set_ylim(0, 1.6)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.legend(fontsize=6, loc="upper right")


def _pmf(axes: Any, figure: Figure, arms: Mapping[str, Arm]) -> None:
    """The shares of kept blocks with 0 to 4 weights that are not degenerate."""
    width = 0.8 / len(figure.curves)
    for i, name in enumerate(figure.curves):
        found = []
        for run in arms[name].records:
            threshold = relative_threshold(run.weights(0), KEEP)
            found.append(norm_counts(run.weights(len(run.epochs)), threshold))
        places = np.arange(5) + (i - (len(figure.curves) - 1) / 2) * width
        spread = np.ptp(found, axis=0) / 2
        axes.bar(places, np.mean(found, axis=0), width, yerr=spread, color=COLORS[i], capsize=2)
    axes.set_ylabel("share of kept blocks")
    axes.set_xlabel("weights of the block that are not degenerate (L0)")
