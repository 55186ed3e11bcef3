"""Whether runs show cascade weight shedding, in numbers and in words computed from them.

The paper's claim is a comparison: with momentum .9 the actual keep-ratio falls below its target and
accuracy dips and recovers; with momentum 0 neither happens. A dip alone proves nothing, since a
restart at a high learning rate makes one too; so the words here always name the controls.

Source: Azarian and Porikli, "Cascade Weight Shedding in Deep Neural Networks", 2021, section 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

# Smaller gaps are what some weights near the threshold make, cascade or not.
GAP = 0.02
# A dip smaller than this is within what one evaluation of some hundred images can tell.
DIP = 0.02


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One run in numbers.

    Attributes:
        seed: of the run.
        pruned: False for a control without pruning; its `actual` counts weights not degenerate.
        target, actual: keep-ratios at the end. gap: the largest r - rho. gap_epoch: when.
        before: accuracy before pruning. lowest: accuracy at its lowest; lowest_epoch: when.
        final: accuracy at the end. sparsity: exact zeros among the kernels' weights at the end.
        seconds: time it took.
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

    @property
    def dip(self) -> float:
        """How far accuracy fell below what it was before."""
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
) -> Outcome:
    """The numbers of a run from the `history` of its `tfshed.KeepRatio`.

    Args:
        history: rows in the order of steps, at least one of them with the metric.
        steps_per_epoch: to give times in epochs.
        before: the metric before the run.
        pruned: False for a control; its gap counts as 0, since nothing is removed.
        metric: name of a column.
        seed, sparsity, seconds: passed on.

    Raises:
        ValueError: no rows, or none with the metric.

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
        gap=max(0.0, widest["target"] - widest["actual"]) if pruned else 0.0,
        gap_epoch=widest["step"] / steps_per_epoch if pruned else 0.0,
        before=before,
        lowest=lowest[metric],
        lowest_epoch=lowest["step"] / steps_per_epoch,
        final=scored[-1][metric],
        sparsity=sparsity,
        seconds=seconds,
    )


def outcome_table(runs: Mapping[str, Sequence[Outcome]]) -> str:
    """A table of arms; with several seeds each number is a mean, +- half the range.

    >>> one = Outcome(0, True, 0.1, 0.1, 0.2, 2.0, 0.99, 0.5, 3.0, 0.98, 0.9, 12.0)
    >>> print(outcome_table({"momentum .9": [one]}))
    arm          target  actual  max gap  at epoch  lowest  at epoch  final  zeros  time
    -----------  ------  ------  -------  --------  ------  --------  -----  -----  ----
    momentum .9   0.100   0.100    0.200       2.0   0.500       3.0  0.980  0.900  12 s
    """
    head = ["arm", "target", "actual", "max gap", "at epoch", "lowest", "at epoch", "final"]
    rows = [[*head, "zeros", "time"]]
    for name, found in runs.items():
        pruned = found[0].pruned
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
            # What a control keeps, its own words say: nothing was asked and nothing was removed.
            hidden = not pruned and field in ("target", "actual", "gap", "gap_epoch")
            row.append("-" if hidden else spread([getattr(o, field) for o in found], places))
        rows.append([*row, f"{_mean([o.seconds for o in found]):.0f} s"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * w for w in widths])
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths)))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def spread(values: Sequence[float], places: int = 3) -> str:
    """A mean with half the range behind it where there are several.

    >>> spread([0.5]), spread([0.5, 0.7], 2)
    ('0.500', '0.60+-0.10')
    """
    text = f"{_mean(values):.{places}f}"
    return text if len(values) == 1 else f"{text}+-{(max(values) - min(values)) / 2:.{places}f}"


def describe(
    high: Sequence[Outcome],
    low: Sequence[Outcome],
    control: Sequence[Outcome],
    fixed: Sequence[Outcome],
    matched: Sequence[Outcome] | None = None,
    *,
    tests: int,
) -> list[str]:
    """What the runs show, in sentences that follow from the numbers, whatever they are.

    Args:
        high, low: pruned with momentum .9 and 0, one outcome a seed, in the same order of seeds.
        control: not pruned, momentum .9. fixed: pruned, threshold fixed, momentum .9.
        matched: momentum 0 at ten times the rate, or None.
        tests: images that accuracy was measured on.
    """
    return [
        _shedding(high, low),
        _dip(high, low),
        _restart(high, control),
        _threshold(high, fixed),
        *([_rate(high, low, matched)] if matched else []),
        _final(high, low, control, tests),
    ]


def _shedding(high: Sequence[Outcome], low: Sequence[Outcome]) -> str:
    a, b = [o.gap for o in high], [o.gap for o in low]
    text = (
        f"Shedding: the actual keep-ratio fell up to {spread(a)} below its target with momentum .9, "
        f"up to {spread(b)} with momentum 0. "
    )
    if max(a) < GAP and max(b) < GAP:
        return text + "Neither is shedding worth the name: rho followed r in both."
    if min(a) > 2 * max(b) and min(a) >= GAP:
        return text + "More with momentum, as the paper reports (there .15 at times, and none)."
    if min(b) > 2 * max(a) and min(b) >= GAP:
        return text + "More without momentum: the opposite of what the paper reports."
    return (
        text
        + "The two are too close, or the seeds too far apart, to tell; the paper has .15 and 0."
    )


def _dip(high: Sequence[Outcome], low: Sequence[Outcome]) -> str:
    a, b = [o.dip for o in high], [o.dip for o in low]
    back = _mean([o.final - o.lowest for o in high])
    text = (
        f"Accuracy fell from {spread([o.before for o in high])} by {spread(a)} with momentum .9 (to "
        f"{spread([o.lowest for o in high])}) and by {spread(b)} with momentum 0. "
    )
    if _mean(a) < DIP:
        return text + "So there was no dip with momentum .9, where the paper has a deep one."
    text += f"With momentum .9 {back:.3f} came back by the end. "
    if min(a) > 2 * max(b):
        return text + "A dip with momentum and (nearly) none without is what the paper reports."
    return text + "The paper reports no dip with momentum 0; here the two are not so far apart."


def _restart(high: Sequence[Outcome], control: Sequence[Outcome]) -> str:
    a, c = _mean([o.dip for o in high]), _mean([o.dip for o in control])
    text = f"Control: with no pruning at all, the same restart dipped by {c:.3f}. "
    if a < DIP and c < DIP:
        return text + "There is no dip to explain in either."
    if c < DIP:
        return text + "So the restart alone does not make the dip."
    if a <= c:
        return text + "That is as deep as with pruning: the dip here is no sign of a cascade."
    return text + (
        f"That is {c / a:.0%} of the dip with pruning: so much of it the restart alone (high "
        "learning rate, empty momentum, BatchNorm statistics that lag) makes."
    )


def _threshold(high: Sequence[Outcome], fixed: Sequence[Outcome]) -> str:
    a, f = [o.gap for o in high], [o.gap for o in fixed]
    text = f"Control: with the threshold fixed at its first value the gap is {spread(f)}. "
    if max(a) < GAP:
        return text + "Without a gap to begin with, that tells nothing."
    share = _mean(f) / _mean(a)
    if share > 0.8:
        return text + "The threshold that grows does not make the gap."
    return text + f"{share:.0%} of the gap is left without the growth of the threshold."


def _rate(high: Sequence[Outcome], low: Sequence[Outcome], matched: Sequence[Outcome]) -> str:
    a, b, m = (_mean([o.gap for o in x]) for x in (high, low, matched))
    text = f"Control: momentum 0 at ten times the rate has a gap of {m:.3f}. "
    if a < GAP:
        return text + "Without a gap at momentum .9, that tells nothing."
    if abs(m - a) < abs(m - b):
        return text + "Nearer to momentum .9: the size of the step counts, more than momentum."
    return text + "Nearer to momentum 0: momentum counts, beyond the size of the step."


def _final(
    high: Sequence[Outcome], low: Sequence[Outcome], control: Sequence[Outcome], tests: int
) -> str:
    a, b, c = (_mean([o.final for o in x]) for x in (high, low, control))
    p = min(max((a + b) / 2, 0.0), 1.0)
    # Two independent nets on as many images as all seeds together have.
    error = (2 * p * (1 - p) / (tests * len(high))) ** 0.5
    text = (
        f"In the end: accuracy {a:.3f} with momentum .9, {b:.3f} with momentum 0, {c:.3f} not "
        f"pruned; one test image is {1 / tests:.4f}. "
    )
    if abs(a - b) <= 2 * error:
        return text + f"Momentum .9 and 0 do not differ by more than chance ({2 * error:.3f})."
    word = "better" if a > b else "worse"
    return text + f"Momentum .9 is {word} than 0 by more than chance ({2 * error:.3f})."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
