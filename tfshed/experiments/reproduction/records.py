"""What was recorded of the runs of a reproduction: curves over epochs, gaps, final weights."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfshed.experiments.recorded import read_json
from tfshed.experiments.retraining.keep_epochs import epoch_file, read_epoch
from tfshed.experiments.retraining.sources import EPOCHS
from tfshed.experiments.run import BEFORE, RESULTS
from tfshed.observe.csv_table import CsvRow, read_table

TABLE = "keep_ratio.csv"


@dataclasses.dataclass(frozen=True)
class Record:
    """One finished run.

    Args:
        folder: Of the run.
        seed: Of the run.
    """

    folder: Path
    seed: int

    @functools.cached_property
    def rows(self) -> list[CsvRow]:
        """All rows of keep_ratio.csv whose keep-ratio is known."""
        rows = read_table(self.folder / TABLE)[1]
        return [row for row in rows if row["actual"] is not None]

    @functools.cached_property
    def epochs(self) -> list[CsvRow]:
        """The rows at the ends of epochs; the first one is that of epoch 1."""
        return [row for row in self.rows if row["event"] == "epoch"]

    @property
    def before(self) -> float:
        """The accuracy before the run."""
        return float(read_json(self.folder / BEFORE)["accuracy"])

    @property
    def finished(self) -> bool:
        """Whether the run has results."""
        return (self.folder / RESULTS).is_file()

    @property
    def seconds(self) -> float:
        """How long all steps took at the speed of the last part of training.

        NaN for a run that was stopped after its last step, which has no such part.
        """
        found = read_json(self.folder / RESULTS)
        speed = found["steps_per_second"]
        return float(found["steps"] / speed) if speed else math.nan

    def curve(self, column: str) -> np.ndarray:
        """A column at the end of each epoch."""
        return np.asarray([row[column] for row in self.epochs], float)

    def accuracy(self, epoch: int) -> float:
        """The accuracy on the test images after so many epochs."""
        return float(self.epochs[epoch - 1]["val_accuracy"])

    @property
    def final(self) -> float:
        """The accuracy on the test images at the end."""
        return self.accuracy(len(self.epochs))

    def gap(self, epoch: int) -> float:
        """Target minus actual keep-ratio after so many epochs."""
        return float(self.epochs[epoch - 1]["gap"])

    @property
    def widest(self) -> float:
        """The largest gap at any update or epoch."""
        return max(float(row["gap"]) for row in self.rows)

    def lowest(self, within: int) -> float:
        """The lowest accuracy at the end of one of the first epochs."""
        return min(self.accuracy(epoch) for epoch in range(1, within + 1))

    def dip(self, within: int = 3) -> float:
        """How far accuracy fell below the accuracy before, within the first epochs."""
        return max(0.0, self.before - self.lowest(within))

    def weights(self, epoch: int) -> list[np.ndarray]:
        """The kernels after so many epochs, in the order of the net; pruned weights are zero.

        Raises:
            ValueError: the run has not kept this epoch.
        """
        file = epoch_file(self.folder / EPOCHS, epoch)
        if not file.is_file():
            raise ValueError(f"epoch: expected one that {self.folder} has kept, received {epoch}")
        return [array for array in read_epoch(file) if array.ndim >= 2]

    @property
    def kept_epochs(self) -> list[int]:
        """The epochs whose weights the run has kept."""
        return [e for e in range(len(self.epochs) + 1) if self._has(e)]

    def _has(self, epoch: int) -> bool:
        return epoch_file(self.folder / EPOCHS, epoch).is_file()


class Arm:
    """The runs of one arm, one for each seed.

    Args:
        name: Of the arm.
        records: Its runs.
    """

    def __init__(self, name: str, records: Sequence[Record]):
        self.name, self.records = name, list(records)

    @property
    def seeds(self) -> set[int]:
        """The seeds that are finished."""
        return {record.seed for record in self.records}

    def of_seeds(self, seeds: Collection[int]) -> list[Record]:
        """The runs of some seeds, in their order."""
        return [record for record in self.records if record.seed in seeds]

    def each(self, measure: Any) -> list[float]:
        """A number of every run, in the order of seeds."""
        return [float(measure(record)) for record in self.records]

    def mean_curve(self, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, smallest and largest value over seeds of a column at the end of each epoch."""
        curves = np.stack([record.curve(column) for record in self.records])
        return curves.mean(axis=0), curves.min(axis=0), curves.max(axis=0)
