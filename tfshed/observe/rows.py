"""The rows of `KeepRatio`: what was read at one moment, for its tables and the logs of Keras."""

from __future__ import annotations

from tfshed.observe.csv_table import CsvRow
from tfshed.observe.probe import Reading

# The columns that tell one row from another, and those with the numbers of the net.
KEY = ["step", "epoch", "event"]
RATIOS = ["target", "actual", "gap", "after_update", "threshold", "scheduled", "shed"]
# The names in Keras' logs, with the columns that they come from.
LOGS = {
    "keep_target": "target",
    "keep_actual": "actual",
    "keep_gap": "gap",
    "threshold": "threshold",
    "pruned_by_schedule": "scheduled",
    "shed": "shed",
}
# Those of them that the progress bar shows within an epoch.
IN_BAR = ("keep_target", "keep_actual")


def logs_of(reading: Reading) -> dict[str, float]:
    """What a reading adds to the logs of an epoch."""
    return {name: reading.net[column] for name, column in LOGS.items()}


def row_of(
    reading: Reading, key: CsvRow, learning_rate: float, metrics: dict[str, float]
) -> CsvRow:
    """The row of a reading, with a column for each pruning group if there are several.

    Args:
        reading: the numbers of the net and of its groups.
        key: the columns `KEY`.
        learning_rate: of the innermost optimizer.
        metrics: what is known at this moment, by name.
    """
    row = {**key, **{name: reading.net[name] for name in RATIOS}, "learning_rate": learning_rate}
    if "observed" in reading.net:
        row["observed"] = reading.net["observed"]
    for i, group in enumerate(reading.groups if len(reading.groups) > 1 else ()):
        row |= {f"{name}_{i}": value for name, value in group.items()}
    return {**row, **metrics}


def row_of_target(target: float, key: CsvRow) -> CsvRow:
    """The row of an update of which nothing but the target keep-ratio is known."""
    unknown = dict.fromkeys([*RATIOS, "learning_rate"])
    return {**key, **unknown, "target": target}
