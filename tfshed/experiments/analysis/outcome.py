"""Summarises a pruning run: how far the keep-ratio fell below its target, and the accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfshed.observe.text_table import text_table


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The numbers of one run.

    Attributes:
        seed: The seed of the run.
        pruned: False for a control without pruning. Its `actual` is the fraction of weights above
            the threshold, or what its shadow masks keep.
        target, actual: The keep-ratios at the end.
        gap, gap_epoch: The largest target minus actual keep-ratio, and its time in epochs.
        before: The accuracy before pruning.
        lowest, lowest_epoch: The lowest accuracy, and its time in epochs.
        final: The accuracy at the end.
        sparsity: The fraction of exact zeros in the kernels at the end.
        seconds: The duration of the run.
        observed: Whether the keep-ratios are those of shadow masks.
    """

    seed: int
    pruned: bool
    target: float
    actual: float
    gap: float
    gap_epoch: float
    before: float
    lowest: float
    lowest_epoch: float
    final: float
    sparsity: float
    seconds: float
    observed: bool = False

    @property
    def dip(self) -> float:
        """How far the accuracy fell below the accuracy before pruning; 0 if it did not."""
        return max(0.0, self.before - self.lowest)


def outcome(
    history: Sequence[Mapping[str, Any]],
    *,
    steps_per_epoch: int,
    before: float,
    pruned: bool = True,
    metric: str = "val_accuracy",
    seed: int = 0,
    sparsity: float = 0.0,
    seconds: float = 0.0,
    observed: bool = False,
) -> Outcome:
    """Computes the numbers of a run from the `history` of its `tfshed.KeepRatio`.

    Args:
        history: Rows in the order of steps. At least one must have the metric.
        steps_per_epoch: The steps of an epoch, to convert times.
        before: The metric before the run.
        pruned: False for a control, whose gap is 0, since nothing is removed, unless it is
            observed. Default True.
        metric: The name of the column with the metric. Default "val_accuracy".
        seed, sparsity, seconds, observed: Attributes of the result.

    Raises:
        ValueError: There are no rows, or none with the metric.

    >>> rows = [
    ...     {"step": 10, "target": 0.8, "actual": 0.6, "val_accuracy": 0.3},
    ...     {"step": 20, "target": 0.5, "actual": 0.5, "val_accuracy": 0.9},
    ... ]
    >>> found = outcome(rows, steps_per_epoch=10, before=0.95)
    >>> round(found.gap, 2), found.gap_epoch, round(found.dip, 2), found.lowest_epoch
    (0.2, 1.0, 0.65, 1.0)
    """
    rows = [r for r in history if r.get("actual") is not None]
    scored = [r for r in history if r.get(metric) is not None]
    if not rows or not scored:
        raise ValueError(
            f"history: expected rows with keep-ratios and {metric!r}, received {len(rows)} with "
            f"keep-ratios and {len(scored)} with {metric!r}"
        )
    widest = max(rows, key=lambda r: r["target"] - r["actual"])
    lowest = min(scored, key=lambda r: r[metric])
    return Outcome(
        seed=seed,
        pruned=pruned,
        target=rows[-1]["target"],
        actual=rows[-1]["actual"],
        gap=max(0.0, widest["target"] - widest["actual"]) if pruned or observed else 0.0,
        gap_epoch=widest["step"] / steps_per_epoch if pruned or observed else 0.0,
        before=before,
        lowest=lowest[metric],
        lowest_epoch=lowest["step"] / steps_per_epoch,
        final=scored[-1][metric],
        sparsity=sparsity,
        seconds=seconds,
        observed=observed,
    )


def outcome_table(runs: Mapping[str, Sequence[Outcome]]) -> str:
    """Returns a table with a row for each arm. With several seeds, numbers are mean +- half range.

    >>> one = Outcome(0, True, 0.1, 0.1, 0.2, 2.0, 0.99, 0.5, 3.0, 0.98, 0.9, 12.0)
    >>> print(outcome_table({"momentum 0.9": [one]}))
    arm           target  actual  max gap  at epoch  lowest  at epoch  final  zeros  time
    -------------------------------------------------------------------------------------
    momentum 0.9   0.100   0.100    0.200       2.0   0.500       3.0  0.980  0.900  12 s
    """
    head = ["arm", "target", "actual", "max gap", "at epoch", "lowest", "at epoch", "final"]
    rows = []
    for name, found in runs.items():
        counted = found[0].pruned or found[0].observed
        row = [name]
        for field, places in (
            ("target", 3),
            ("actual", 3),
            ("gap", 3),
            ("gap_epoch", 1),
            ("lowest", 3),
            ("lowest_epoch", 1),
            ("final", 3),
            ("sparsity", 3),
        ):
            # A control without shadow masks has no target and removes nothing: no keep-ratios.
            hidden = not counted and field in ("target", "actual", "gap", "gap_epoch")
            row.append("-" if hidden else mean_range([getattr(o, field) for o in found], places))
        rows.append([*row, f"{mean([o.seconds for o in found]):.0f} s"])
    head += ["zeros", "time"]
    return "\n".join(text_table(head, rows, right=range(1, len(head))))


def mean_range(values: Sequence[float], places: int = 3) -> str:
    """The mean as a text, followed by half the range if there are several values.

    >>> mean_range([0.5]), mean_range([0.5, 0.7], 2)
    ('0.500', '0.60+-0.10')
    """
    text = f"{mean(values):.{places}f}"
    return text if len(values) == 1 else f"{text}+-{(max(values) - min(values)) / 2:.{places}f}"


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)
