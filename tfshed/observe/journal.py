"""Where the rows of `KeepRatio` go: memory, two CSV files, TensorBoard, a plot."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from tfshed.observe.csv_table import CsvRow, CsvTable
from tfshed.observe.replace_file import replace_file
from tfshed.observe.rows import KEY, RATIOS
from tfshed.observe.tensorboard import ScalarWriter


class Journal:
    """All rows of a run, in memory and, with a directory, in files that a resumed run continues.

    Args:
        directory: A local folder, which is made when it is needed; None keeps the rows in memory.
        tensorboard: Whether scalars are written to `tensorboard/` in it.
    """

    def __init__(self, directory: Path | None, tensorboard: bool):
        self.rows: list[CsvRow] = []
        self.directory = directory
        self._tables: list[CsvTable] = []
        self._scalars: ScalarWriter | None = None
        self._drawn_at, self._drawing_takes, self._rows_drawn = -math.inf, 0.0, 0
        # TensorBoard draws a tag of several runs, which are folders, in one chart.
        self._pair: dict[str, ScalarWriter] = {}
        if directory is not None:
            self._tables = [
                CsvTable(directory / "keep_ratio.csv", [*KEY, *RATIOS, "learning_rate"]),
                CsvTable(directory / "keep_ratio_layers.csv", KEY),
            ]
            if tensorboard:
                self._scalars = ScalarWriter(str(directory / "tensorboard"))
                self._pair = {
                    name: ScalarWriter(str(directory / "tensorboard" / name))
                    for name in ("target", "actual")
                }

    def resume(self, step: int) -> None:
        """Drops the rows after `step`, from which a run is resumed, and reads the earlier ones."""
        self.rows = [row for row in self.rows if row["step"] <= step]
        self._rows_drawn = 0
        if self.directory is None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        rows, layers = (table.resume(step) for table in self._tables)
        # By key: a crash may have come between the writes of the two files.
        kernels = {tuple(row[k] for k in KEY): row for row in layers}
        for row in rows:
            found = kernels.get(tuple(row[k] for k in KEY), {})
            row["kernels"] = {k: v for k, v in found.items() if k not in KEY and v is not None}
        if len(rows) > len(self.rows):
            self.rows = rows

    def add(self, row: CsvRow, kernels: dict[str, float]) -> None:
        """Takes a row, which begins with the columns `KEY`, and the keep-ratios of the kernels."""
        self.rows.append({**row, "kernels": kernels})
        if self._tables:
            self._tables[0].append(row)
            self._tables[1].append({**{k: row[k] for k in KEY}, **kernels})

    def scalars(
        self,
        net: CsvRow,
        groups: list[CsvRow],
        kernels: dict[str, float],
        metrics: dict[str, float],
        step: int,
    ) -> None:
        """Writes numbers for TensorBoard.

        The tags begin with keep_ratio/, keep_ratio_<group>/, kernels/ and metrics/. Besides, the
        runs `target` and `actual` share the tag `keep_ratio`, so that one chart shows both.
        """
        if self._scalars is None:
            return
        for name, writer in self._pair.items():
            if net[name] is not None:
                writer.write({"keep_ratio": net[name]}, step)
        values = {f"keep_ratio/{k}": net[k] for k in RATIOS if net[k] is not None}
        for i, group in enumerate(groups if len(groups) > 1 else ()):
            values |= {f"keep_ratio_{i}/{k}": group[k] for k in RATIOS}
        values |= {f"kernels/{path}": kept for path, kept in kernels.items()}
        values |= {f"metrics/{name}": value for name, value in metrics.items()}
        self._scalars.write(values, step)

    def plot(self, always: bool = False) -> None:
        """Draws `keep_ratio.png` anew.

        Args:
            always: Default False: only if drawing takes no more than a tenth of the time since the
                last drawing, so that short epochs are not spent on pictures.
        """
        started = time.monotonic()
        too_soon = started - self._drawn_at < 10 * self._drawing_takes
        if (
            self.directory is None
            or len(self.rows) == self._rows_drawn
            or (too_soon and not always)
        ):
            return
        # It brings matplotlib.
        from tfshed.observe.plots import keep_ratio_plot

        replace_file(
            self.directory / "keep_ratio.png", lambda path: keep_ratio_plot({"": self.rows}, path)
        )
        self._rows_drawn, self._drawn_at = len(self.rows), time.monotonic()
        self._drawing_takes = self._drawn_at - started

    def close(self) -> None:
        for writer in (self._scalars, *self._pair.values()):
            if writer is not None:
                writer.close()


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries as one.

    >>> flat({"loss": 1.0, "head": {"accuracy": 0.5}})
    {'loss': 1.0, 'accuracy': 0.5}
    """
    out: dict[str, Any] = {}
    for name, value in values.items():
        out |= flat(value) if isinstance(value, dict) else {name: value}
    return out
