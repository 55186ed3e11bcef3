"""Compares what the folder of a run has recorded with the settings and files of now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfshed.experiments.recipe import recipe
from tfshed.observe.csv_table import read_table
from tfshed.observe.run_directory import SETTINGS


def read_json(path: Path) -> Any:
    """Returns the contents of a JSON file of a run; None if it does not exist.

    Raises:
        ValueError: It cannot be read.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path}: expected a JSON file of an earlier run, received one that cannot be read "
            f"({error}). Put back a good copy, or choose another workdir."
        ) from error


def comparable(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings `wanted` without those that an older version did not record.

    Fields that were added to the recipe since then are left out if they have their default value,
    as the older version behaved as if they had.
    """
    found = read_json(folder / SETTINGS)
    if found is None:
        return wanted
    try:
        before = found["settings"]
        config = _without_new(wanted["config"], before["config"], recipe().to_dict())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder / SETTINGS}: expected the settings of a run, received a file without them. "
            "Put back a good copy, or choose another workdir."
        ) from error
    kept = {name: value for name, value in wanted.items() if name in before or name != "data"}
    return {**kept, "config": config}


def _without_new(
    wanted: Mapping[str, Any], before: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of `wanted` that are in `before` or differ from their default."""
    kept = {}
    for name, value in wanted.items():
        default = defaults.get(name)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            inside = _without_new(value, before.get(name, {}), default)
            if inside or name in before:
                kept[name] = inside
        elif name in before or name not in defaults or value != default:
            kept[name] = value
    return kept


def missing_rows(table: Path, info: Mapping[str, Any]) -> int:
    """Returns how many rows a table has lost since a checkpoint was written.

    Args:
        table: The CSV file.
        info: The information in the checkpoint, with the number of "rows" and the step of the
            "last_row". If it lacks them, it is of an older version, and the result is 0.
    """
    wanted = info.get("rows", 0)
    if not wanted:
        return 0
    rows = read_table(table)[1] if table.is_file() else []
    steps = [row["step"] for row in rows]
    there = sum(isinstance(step, int) and step <= info["last_row"] for step in steps)
    return max(0, wanted - there)
