"""Pictures of runs: what is drawn, not how it looks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import tfshed
from tfshed.observe.csv_table import CsvTable
from tfshed.observe.plots import keep_ratio_plot


def rows(gap: float, metric: str | None = "val_accuracy") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for step in range(1, 13):
        r = 1.0 - step / 20
        row = {"step": step, "epoch": step // 4, "event": "update", "target": r, "actual": r - gap}
        if metric is not None:
            row[metric] = 0.5 + step / 40 if step % 4 == 0 else None
        found.append(row)
    return found


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    original = Figure.savefig

    def savefig(self: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def test_several_runs_share_axes_and_have_a_panel_for_the_metric(
    drawn: list[Figure], tmp_path: Path
) -> None:
    path = tmp_path / "b.csv"
    table = CsvTable(path, ["step", "target", "actual"])
    for row in rows(0.1):
        table.append(row)
    runs = {"momentum 0": rows(0.0), "momentum .9": path}
    keep_ratio_plot(runs, tmp_path / "runs.png", steps_per_epoch=4, title="two runs")
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")

    keep, below = drawn[0].axes
    dashed = [line for line in keep.lines if line.get_linestyle() == "--"]
    solid = [line for line in keep.lines if line.get_linestyle() == "-"]
    assert [line.get_label() for line in solid] == ["momentum 0", "momentum .9"]
    steps = np.arange(1, 13)
    for line, gap in zip(solid, (0.0, 0.1)):
        np.testing.assert_allclose(line.get_xdata(), steps / 4)
        np.testing.assert_allclose(line.get_ydata(), 1 - steps / 20 - gap)
    for line in dashed:
        np.testing.assert_allclose(line.get_ydata(), 1 - steps / 20)
    # The same target twice has a colour of its own.
    assert {line.get_color() for line in dashed}.isdisjoint(line.get_color() for line in solid)
    for line in below.lines:
        np.testing.assert_allclose(line.get_xdata(), [1, 2, 3])
        np.testing.assert_allclose(line.get_ydata(), [0.6, 0.7, 0.8])
    assert [line.get_color() for line in below.lines] == [line.get_color() for line in solid]
    assert below.get_xlabel() == "epochs"
    assert below.get_ylabel() == "val_accuracy (fraction)"
    assert keep.get_ylabel() == "keep-ratio (fraction kept)"
    (legend,) = drawn[0].legends
    assert [t.get_text() for t in legend.get_texts()] == ["target r", "momentum 0", "momentum .9"]
    assert legend.get_title().get_text() == "two runs"


def test_a_single_run_has_the_metric_on_a_second_axis_and_its_gap_shaded(
    drawn: list[Figure], tmp_path: Path
) -> None:
    keep_ratio_plot({"": rows(0.2, "loss")}, tmp_path / "run.svg")
    keep, right = drawn[0].axes
    assert keep.get_shared_x_axes().joined(keep, right)
    assert keep.get_xlabel() == "optimizer steps"
    assert right.get_ylabel() == "loss"
    (shade,) = keep.collections
    assert shade.get_label() == "gap r − ρ (shed)"
    heights = shade.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(1 - 12 / 20 - 0.2)
    assert heights.max() == pytest.approx(0.95)
    assert "<svg" in (tmp_path / "run.svg").read_text()[:500]


def test_updates_that_nobody_saw_leave_the_actual_ratio_out(
    drawn: list[Figure], tmp_path: Path
) -> None:
    hidden = rows(0.1, None)
    hidden[3]["actual"] = None
    keep_ratio_plot({"run": hidden}, tmp_path / "run.png")
    (keep,) = drawn[0].axes
    assert [len(line.get_xdata()) for line in keep.lines] == [12, 11]


def test_the_users_matplotlib_backend_is_left_alone(tmp_path: Path) -> None:
    before, pyplot = matplotlib.rcParams._get("backend"), "matplotlib.pyplot" in sys.modules
    keep_ratio_plot({"run": rows(0.1)}, tmp_path / "run.png")
    assert matplotlib.rcParams._get("backend") is before
    assert ("matplotlib.pyplot" in sys.modules) == pyplot


@pytest.mark.parametrize(
    ("runs", "arguments", "named"),
    [
        ({}, {}, "runs: expected at least one run, received none"),
        ({"a": []}, {}, "expected rows in run 'a'"),
        ({"a": rows(0.1)}, {"metric": "auc"}, "metric: expected one of .*, received 'auc'"),
        ({"a": rows(0.1)}, {"steps_per_epoch": 0}, "steps_per_epoch: expected an int >= 1"),
    ],
)
def test_wrong_arguments_are_named(
    runs: Any, arguments: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=named):
        tfshed.plots.keep_ratio_plot(runs, tmp_path / "run.png", **arguments)
