"""The results of a grid as one table: text, CSV, Markdown, JSON; and as one figure."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfshed.core.extras import need
from tfshed.observe.in_notebooks import ShownInNotebooks
from tfshed.observe.replace_file import replace_file
from tfshed.observe.text_table import text_table

LAST, BEST = "accuracy after the last epoch", "accuracy of the best epoch on held-out examples"
PLUS_MINUS = "+-"


@dataclasses.dataclass(frozen=True)
class GridTable(ShownInNotebooks):
    """The results of a grid.

    Attributes:
        seeds: of the runs.
        rows, columns: names, in order.
        results: for each (row, column) the results of its runs, one for each seed.
        nets: results of the nets that were trained first, one for each seed; empty if none were.
    """

    seeds: Sequence[int]
    rows: list[str]
    columns: list[str]
    results: dict[tuple[str, str], list[dict[str, Any]]]
    nets: list[dict[str, Any]]

    def accuracies(self, row: str, column: str, which: str = "after") -> list[float]:
        """The test accuracies of a cell, one for each seed.

        Args:
            row, column: names.
            which: "after", those of the last epoch; "best", those of the epoch that was best on the
                held-out examples. Empty if no examples were held out.
        """
        found = [result.get(which) for result in self.results[row, column]]
        return [float(each["accuracy"]) for each in found if each and "accuracy" in each]

    def kinds(self) -> dict[str, str]:
        """Title and key of each accuracy that the grid has."""
        kinds = {LAST: "after"}
        if all("best" in r for results in self.results.values() for r in results):
            kinds[BEST] = "best"
        return kinds

    def cells(self, which: str) -> list[list[str]]:
        """A line for each row: its name, and mean +- standard deviation for each column."""
        return [
            [row, *(mean_and_deviation(self.accuracies(row, c, which)) for c in self.columns)]
            for row in self.rows
        ]

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """The table as lines of text."""
        lines = []
        for title, which in self.kinds().items():
            right = range(1, len(self.columns) + 1)
            lines += [title, *text_table(["", *self.columns], self.cells(which), right=right), ""]
        return "\n".join([*lines, *self._notes()])

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = []
        for title, which in self.kinds().items():
            lines += [title, "", "| | " + " | ".join(self.columns) + " |"]
            lines += ["|---" * (len(self.columns) + 1) + "|"]
            lines += ["| " + " | ".join(cells) + " |" for cells in self.cells(which)]
            lines += [""]
        return "\n".join([*lines, *self._notes()])

    def csv(self) -> str:
        """One line for each run."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        fields = ("epochs", "steps", "kernel_sparsity")
        writer.writerow(["row", "column", "seed", "accuracy", "best_epoch_accuracy", *fields])
        for (row, column), results in self.results.items():
            for seed, found in zip(self.seeds, results):
                best = (found.get("best") or {}).get("accuracy", "")
                numbers = [found.get(name, "") for name in fields]
                writer.writerow([row, column, seed, found["after"]["accuracy"], best, *numbers])
        return file.getvalue()

    def json(self) -> str:
        """All results."""
        cells = [
            {"row": row, "column": column, "results": [_comparable(r) for r in results]}
            for (row, column), results in self.results.items()
        ]
        nets = [_comparable(net) for net in self.nets]
        return json.dumps({"seeds": list(self.seeds), "nets": nets, "cells": cells}, indent=2)

    def _notes(self) -> list[str]:
        count = len(self.seeds)
        seeds = "one seed" if count == 1 else f"{count} seeds, mean {PLUS_MINUS} standard deviation"
        nets = mean_and_deviation([float(net["after"]["accuracy"]) for net in self.nets])
        return [f"{seeds}; the nets before pruning: {nets}" if nets else seeds]


def _comparable(result: dict[str, Any]) -> dict[str, Any]:
    """Without what differs between two runs of the same: the speed."""
    return {name: value for name, value in result.items() if name != "steps_per_second"}


def mean_and_deviation(values: Sequence[float]) -> str:
    """The mean, and the standard deviation of a sample where there are several values.

    >>> mean_and_deviation([0.9, 0.92, 0.94]), mean_and_deviation([0.9])
    ('0.9200 +- 0.0200', '0.9000')
    """
    if not values:
        return ""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.4f}"
    return f"{mean:.4f} {PLUS_MINUS} {statistics.stdev(values):.4f}"


def write_table(table: GridTable, folder: Path) -> None:
    """Writes table.txt, .csv, .md, .json and the figure table.png."""
    texts = {
        "txt": table.text() + "\n",
        "csv": table.csv(),
        "md": table.markdown() + "\n",
        "json": table.json() + "\n",
    }
    for suffix, text in texts.items():
        _write(folder / f"table.{suffix}", text)
    replace_file(folder / "table.png", lambda path: draw(table, path))


def _write(path: Path, text: str) -> None:
    def write(beside: Path) -> None:
        beside.write_text(text, encoding="utf-8")

    replace_file(path, write)


def draw(table: GridTable, path: Path) -> None:
    """The accuracies of the last epoch: a group of points for each column, one for each row."""
    new_figure = need("matplotlib.figure", "The figure of a grid").Figure
    figure = new_figure(figsize=(max(6.0, 1.6 * len(table.columns)), 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(table.rows)
    for i, row in enumerate(table.rows):
        values = [table.accuracies(row, column) for column in table.columns]
        places = [j + (i + 0.5) * width - 0.4 for j in range(len(values))]
        spread = [statistics.stdev(v) if len(v) > 1 else math.nan for v in values]
        means = [statistics.fmean(v) for v in values]
        axes.errorbar(places, means, yerr=spread, fmt="o", label=row, capsize=2, markersize=4)
    axes.set_xticks(range(len(table.columns)), table.columns, rotation=20)
    axes.set_ylabel("accuracy")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
