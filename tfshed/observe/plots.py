"""Plots of runs: target against actual keep-ratio, and accuracy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfshed.core.extras import need
from tfshed.observe.csv_table import read_table

__all__ = ["keep_ratio_plot"]

# Told apart in all common kinds of colour blindness: Okabe & Ito 2008, "Color universal design".
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DARK = "0.2"
Rows = Sequence[Mapping[str, Any]]


def keep_ratio_plot(
    runs: Mapping[str, Rows | str | os.PathLike[str]],
    path: str | os.PathLike[str],
    *,
    metric: str | None = None,
    steps_per_epoch: int | None = None,
    title: str | None = None,
) -> None:
    """Draws the keep-ratios of runs over their steps, with a metric such as accuracy.

    The actual keep-ratio rho is a solid line, and the target keep-ratio r a dashed darker line that
    is drawn over it. Several runs share the axes, and a panel below shows the metric. A single run
    has the metric on a second axis, and its gap r - rho, what the net has shed beyond the schedule,
    is shaded.

    Args:
        runs: For each name either the `history` of a `tfshed.KeepRatio` or the path of its
            keep_ratio.csv.
        path: Where the picture is written. Its suffix says of which kind it is: png, svg or pdf.
        metric: The column that is drawn as the metric. None (default) means the first of
            val_*acc*, *acc*, val_loss and loss that the first run has.
        steps_per_epoch: Optimizer steps per epoch, at least 1, to have epochs on the horizontal
            axis. None (default) leaves optimizer steps there.
        title: The title of the picture. None (default) means that it has none.

    Raises:
        ValueError: there are no runs, a run has no rows, no run has the metric, or
            `steps_per_epoch` is below 1.

    >>> import pathlib, tempfile, tfshed
    >>> rows = [{"step": i, "target": 1 - i / 10, "actual": 0.95 - i / 10} for i in range(9)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     picture = pathlib.Path(folder, "runs.png")
    ...     tfshed.plots.keep_ratio_plot({"momentum 0.9": rows}, picture)
    ...     picture.exists()
    True
    """
    # Not pyplot: that would choose a backend for the user's whole process.
    figure_module = need("matplotlib.figure", "keep_ratio_plot")

    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise ValueError(f"steps_per_epoch: expected an int >= 1, received {steps_per_epoch!r}")
    tables = {name: _rows(name, run) for name, run in runs.items()}
    if not tables:
        raise ValueError("runs: expected at least one run, received none")
    metric = _metric(tables, metric)
    single = len(tables) == 1
    scale = 1.0 / (steps_per_epoch or 1)
    figure = figure_module.Figure(
        figsize=(8, 4.5 if single or metric is None else 7), layout="constrained"
    )
    if single or metric is None:
        keep = figure.subplots()
        below = keep.twinx() if metric is not None else None
    else:
        keep, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    targets = {name: _series(rows, "target", scale) for name, rows in tables.items()}
    for i, (name, rows) in enumerate(tables.items()):
        color = COLORS[i % len(COLORS)]
        # Beyond the colours there are, the markers tell.
        marker = [None, "o", "^", "s"][min(i // len(COLORS), 3)]
        x, target = targets[name]
        # It is drawn over the actual line, and in another colour: the two often coincide. Steps: a
        # target holds until the next update. One that several runs share is grey.
        alone = not single and list(targets.values()).count((x, target)) == 1
        style: dict[str, Any] = {
            "color": darker(color) if alone else DARK,
            "linestyle": "--",
            "linewidth": 1.2,
        }
        keep.step(x, target, where="post", zorder=3, **style)
        x, actual = _series(rows, "actual", scale)
        style = {"color": color, "marker": marker, "markersize": 3}
        keep.step(x, actual, where="post", label=name or "actual ρ", linewidth=1.8, **style)
        if single:
            _, target = _series([r for r in rows if r.get("actual") is not None], "target", scale)
            shade: dict[str, Any] = {"color": color, "alpha": 0.18, "linewidth": 0}
            keep.fill_between(x, actual, target, step="post", label="gap r − ρ (shed)", **shade)
        if below is not None and metric is not None:
            color = COLORS[1] if single else color
            x, y = _series(rows, metric, scale)
            below.plot(
                x, y, **{**style, "color": color, "marker": "o"}, linewidth=1.2, label=metric
            )
    _dress(keep, below, metric, single, title)
    (below if below is not None and not single else keep).set_xlabel(
        "optimizer steps" if steps_per_epoch is None else "epochs"
    )
    figure.savefig(os.fspath(path), dpi=150)


def darker(color: str) -> str:
    """Returns a colour at half its brightness, and grey for black.

    >>> darker("#0072B2"), darker("#000000")
    ('#003959', '#808080')
    """
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{part // 2:02x}" for part in parts) if any(parts) else "#808080"


def _dress(keep: Any, below: Any, metric: str | None, single: bool, title: str | None) -> None:
    """Axes and legends."""
    keep.set_ylabel("keep-ratio (fraction kept)")
    keep.set_ylim(-0.02, 1.02)
    keep.margins(x=0.01)
    keep.grid(alpha=0.3)
    lines, labels = keep.get_legend_handles_labels()
    # One dashed line in the legend stands for the targets of all runs.
    line = need("matplotlib.lines", "keep_ratio_plot").Line2D
    lines.insert(0, line([], [], color=DARK, linestyle="--", linewidth=1.2))
    labels.insert(0, "target r")
    if below is not None and single:
        more = below.get_legend_handles_labels()
        lines, labels = lines + more[0], labels + more[1]
        below.tick_params(axis="y", colors=COLORS[1])
        below.yaxis.label.set_color(COLORS[1])
    elif below is not None:
        below.grid(alpha=0.3)
    if below is not None and metric is not None:
        below.set_ylabel(metric + (" (fraction)" if "acc" in metric else ""))
    # Above the axes, where it covers no line.
    # About a hundred characters fit into a row of the figure, with the lines' samples.
    columns = max(1, min(4, 100 // (max(map(len, labels)) + 8)))
    legend = {"loc": "outside upper center", "ncols": columns, "fontsize": 9, "title": title}
    keep.figure.legend(lines, labels, **legend)


def _rows(name: str, run: Any) -> Rows:
    rows = read_table(Path(run))[1] if isinstance(run, (str, os.PathLike)) else list(run)
    if not rows:
        raise ValueError(f"runs: expected rows in run {name!r}, received none")
    return rows


def _metric(tables: Mapping[str, Rows], metric: str | None) -> str | None:
    first = next(iter(tables.values()))
    known = {k for rows in tables.values() for row in rows for k in row if row[k] is not None}
    if metric is not None:
        if metric not in known:
            raise ValueError(f"metric: expected one of {sorted(known)}, received {metric!r}")
        return metric
    own = list(dict.fromkeys(k for row in first for k in row if row[k] is not None))
    found = [k for k in own if k.startswith("val_") and "acc" in k]
    found += [k for k in own if "acc" in k]
    return next(iter(found + [k for k in ("val_loss", "loss") if k in own]), None)


def _series(rows: Rows, column: str, scale: float) -> tuple[list[float], list[float]]:
    """The steps and values of a column, without the rows that lack it."""
    points = [(row["step"] * scale, row[column]) for row in rows if row.get(column) is not None]
    return [x for x, _ in points], [y for _, y in points]
