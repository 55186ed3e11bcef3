"""Reads the directory of a run for the functions of `tfshed.analysis`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from tfshed.experiments.recorded import read_json
from tfshed.observe.csv_table import CsvRow, read_table
from tfshed.observe.run_directory import SETTINGS
from tfshed.observe.snapshot_file import KERNELS, MASKS, MaskSnapshot, read_snapshots


@dataclasses.dataclass(frozen=True, eq=False)
class RunRecord:
    """What a run has left.

    Attributes:
        path: Its directory.
        rows: The rows of `keep_ratio.csv`, in the order of steps.
        snapshots: Those of `masks/`; empty if the run made none.
        settings: What `settings.json` holds of the run, such as "phase", "seed" and "config"; empty
            if there is no such file.
        observed: Whether its masks are shadow masks.
    """

    path: Path
    rows: list[CsvRow]
    snapshots: list[MaskSnapshot]
    settings: dict[str, Any]
    observed: bool


def read_run(path: str | os.PathLike[str]) -> RunRecord:
    """Reads the directory of a run, or any folder that `tfshed.KeepRatio` wrote into.

    Args:
        path: the directory; snapshots are in its folder `masks`.

    Raises:
        FileNotFoundError: there is no `keep_ratio.csv`.
        ValueError: a file cannot be read.
    """
    folder = Path(path)
    table = folder / "keep_ratio.csv"
    if not table.is_file():
        raise FileNotFoundError(
            f"{table}: expected the table of tfshed.KeepRatio in the directory of a run, and it is "
            "not there"
        )
    _, rows = read_table(table)
    recorded = read_json(folder / SETTINGS) or {}
    there = (folder / MASKS / KERNELS).is_file()
    return RunRecord(
        folder,
        rows,
        read_snapshots(folder / MASKS) if there else [],
        recorded.get("settings", recorded),
        any(row.get("observed") for row in rows),
    )
