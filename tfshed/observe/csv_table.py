"""A CSV file that a run appends to and that a resumed run continues."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from tfshed.observe.replace_file import replace_file

# A row by the names of its columns; None is an empty field.
CsvRow = dict[str, Any]


def parse(text: str | None) -> Any:
    """The int, float or string that was written; None for an empty field.

    >>> [parse(text) for text in ("12", "0.5", "nan", "update", "")]
    [12, 0.5, nan, 'update', None]
    """
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_table(path: Path) -> tuple[list[str], list[CsvRow]]:
    """Columns and rows of a table; a last line that was cut off by a crash is left out.

    Raises:
        ValueError: the file has no column "step".
    """
    with path.open(newline="") as file:
        text = file.read()
    lines = text[: text.rfind("\n") + 1].splitlines()
    reader = csv.DictReader(lines)
    columns = list(reader.fieldnames or [])
    if lines and "step" not in columns:
        raise ValueError(f'{path}: expected a table with a column "step", received {columns}')
    return columns, [{k: parse(v) for k, v in row.items() if k is not None} for row in reader]


class CsvTable:
    """Rows of one CSV file, each with a "step".

    Args:
        path: of the file; its folder exists.
        columns: the first columns, in their order; others are added when a row brings them.
    """

    def __init__(self, path: Path, columns: list[str]):
        self.path, self.columns = path, list(columns)

    def resume(self, step: int) -> list[CsvRow]:
        """Drops all rows after `step` from the file, and returns those that are left."""
        if not self.path.exists():
            return []
        found, rows = read_table(self.path)
        kept = [row for row in rows if row["step"] is not None and row["step"] <= step]
        if not kept:
            self.path.unlink()
            return []
        self.columns = found + [c for c in self.columns if c not in found]
        # Always written anew: a last line may have been cut off.
        self._rewrite(kept)
        return kept

    def append(self, row: CsvRow) -> None:
        """Writes one row; None is an empty field."""
        new = [name for name in row if name not in self.columns]
        self.columns += new
        if not self.path.exists():
            self._rewrite([row])
        elif new:
            self._rewrite([*read_table(self.path)[1], row])
        else:
            with self.path.open("a", newline="") as file:
                self._writer(file).writerow(row)

    def _rewrite(self, rows: list[CsvRow]) -> None:
        def write(path: Path) -> None:
            with path.open("w", newline="") as file:
                writer = self._writer(file)
                writer.writeheader()
                writer.writerows(rows)

        replace_file(self.path, write)

    def _writer(self, file: Any) -> Any:
        return csv.DictWriter(file, self.columns, restval="", lineterminator="\n")
