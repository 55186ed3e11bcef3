"""What masks and magnitudes do over training: when weights are lost, where, and how fast."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfshed.observe.snapshot_file import BIN_EDGES, MaskSnapshot

# A time constant outside of these multiples of the time that was seen cannot be told from the data.
SHORTEST, LONGEST = 0.01, 10.0
TRIED = 400


@dataclasses.dataclass(frozen=True)
class ExponentialFit:
    """floor + amplitude * exp(-(t - first t) / time_constant), by least squares.

    Attributes:
        time_constant: In the units of t.
        amplitude, floor: In the units of the values.
        r_squared: The share of the variance that the fit explains, at most 1.
        decided: Whether the data say how large the time constant is: at least 4 points, an
            r_squared of at least 0.5, and a time constant inside of the range that was tried.
    """

    time_constant: float
    amplitude: float
    floor: float
    r_squared: float
    decided: bool


def lost_at(snapshots: Sequence[MaskSnapshot]) -> list[np.ndarray]:
    """In which snapshot each weight (or block) was lost: an int array for each kernel.

    Returns:
        The number of the first snapshot from which on it is not kept any more; the number of
        snapshots if it is kept in the last one.

    Raises:
        ValueError: there are no snapshots.
    """
    if not snapshots:
        raise ValueError("snapshots: expected at least one, received none")
    found = []
    for masks in zip(*(each.masks for each in snapshots)):
        kept = np.stack(masks)
        # Counted from the end: weights may come back where pruning is not monotone.
        last_kept = kept.shape[0] - np.argmax(kept[::-1], axis=0)
        found.append(np.where(kept.any(axis=0), last_kept, 0))
    return found


def lost_between(snapshots: Sequence[MaskSnapshot], kernel: str) -> dict[int, np.ndarray]:
    """Which weights of a kernel were lost when.

    Args:
        snapshots: of one run.
        kernel: a path.

    Returns:
        By the step of the snapshot in which they are missing first: their indices in the mask, an
        int array (number, axes). Whether an update or the threshold took them is not in the masks:
        in a run without updates, all of them were shed.

    Raises:
        ValueError: there is no such kernel.
    """
    paths = [k.path for k in snapshots[0].kernels] if snapshots else []
    if kernel not in paths:
        raise ValueError(f"kernel: expected one of {paths}, received {kernel!r}")
    when = lost_at(snapshots)[paths.index(kernel)]
    return {each.step: np.argwhere(when == i) for i, each in enumerate(snapshots)}


def layer_profile(snapshots: Sequence[MaskSnapshot]) -> dict[str, np.ndarray]:
    """The keep-ratio of each kernel in each snapshot, by its path."""
    paths = [k.path for k in snapshots[0].kernels] if snapshots else []
    return {
        path: np.asarray([float(each.masks[i].mean()) for each in snapshots])
        for i, path in enumerate(paths)
    }


def mask_drift(snapshots: Sequence[MaskSnapshot]) -> np.ndarray:
    """Which share of what a snapshot keeps is missing in the next: one number less than snapshots.

    0 where nothing is lost, 1 where all is lost or exchanged.
    """
    found = []
    for before, after in zip(snapshots, snapshots[1:]):
        kept = sum(int(m.sum()) for m in before.masks)
        gone = sum(int((m & ~n).sum()) for m, n in zip(before.masks, after.masks))
        found.append(gone / kept if kept else 0.0)
    return np.asarray(found)


def magnitude_shares(snapshots: Sequence[MaskSnapshot]) -> tuple[np.ndarray, np.ndarray]:
    """Histograms of all magnitudes over time.

    Returns:
        `(edges, shares)`: the edges of the bins, of which each is a quarter of an octave wide, and
        the share of all weights in each, float (snapshots, edges + 1). The first column has what
        is below all edges, zeros among it.
    """
    counts = np.stack([each.counts.sum(axis=0) for each in snapshots]).astype("float64")
    return BIN_EDGES, counts / counts.sum(axis=1, keepdims=True)


def share_below(snapshot: MaskSnapshot, magnitude: float) -> float:
    """The share of all weights whose magnitude is below a number, to a quarter of an octave.

    Counted are the bins that lie below the number as a whole.
    """
    counts = snapshot.counts.sum(axis=0)
    whole = int(np.searchsorted(BIN_EDGES, magnitude, side="right"))
    return float(counts[:whole].sum() / max(1, counts.sum()))


def shed_rate(rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """How fast a net sheds, from the rows of `tfshed.KeepRatio`.

    Args:
        rows: with "step", "actual", "scheduled" and "shed", in the order of steps.

    Returns:
        `(steps, rates)`: the steps in the middle of two rows, and the share of what was kept at the
        first of them that was shed per step. Empty where nothing was ever pruned or shed.
    """
    known = [r for r in rows if r.get("shed") is not None and r.get("actual") is not None]
    totals = [(r["scheduled"] + r["shed"]) / (1.0 - r["actual"]) for r in known if r["actual"] < 1]
    if not totals:
        return np.zeros(0), np.zeros(0)
    total = totals[-1]
    steps, rates = [], []
    for before, after in zip(known, known[1:]):
        length, kept = after["step"] - before["step"], before["actual"] * total
        if length > 0 and kept > 0:
            steps.append((before["step"] + after["step"]) / 2)
            rates.append((after["shed"] - before["shed"]) / kept / length)
    return np.asarray(steps), np.asarray(rates)


def exponential_fit(times: Sequence[float], values: Sequence[float]) -> ExponentialFit:
    """Fits an exponential that falls (or rises) to a floor, such as to a shed rate.

    Args:
        times: at least 3, increasing.
        values: as many.

    Raises:
        ValueError: fewer or other numbers.

    >>> t = np.arange(20.0)
    >>> found = exponential_fit(t, 0.1 + 0.5 * np.exp(-t / 4.0))
    >>> round(found.time_constant, 2), round(found.floor, 3), found.decided
    (4.0, 0.1, True)
    """
    t, y = np.asarray(times, "float64"), np.asarray(values, "float64")
    if t.ndim != 1 or t.shape != y.shape or t.size < 3 or not (np.diff(t) > 0).all():
        raise ValueError(
            f"times, values: expected at least 3 increasing times and as many values, received "
            f"shapes {t.shape} and {y.shape}"
        )
    if not (np.isfinite(t).all() and np.isfinite(y).all()):
        raise ValueError("times, values: expected finite numbers, received NaN or infinity")
    t = t - t[0]
    tried = t[-1] * np.geomspace(SHORTEST, LONGEST, TRIED)
    best = min(range(TRIED), key=lambda i: _residual(t, y, tried[i])[0])
    # Once more between the neighbours of the best, so finely that the rest does not matter.
    low, high = tried[max(0, best - 1)], tried[min(TRIED - 1, best + 1)]
    finer = np.geomspace(low, high, TRIED)
    constant = min(finer, key=lambda tau: _residual(t, y, tau)[0])
    residual, floor, amplitude = _residual(t, y, constant)
    spread = float(((y - y.mean()) ** 2).sum())
    explained = 1.0 - residual / spread if spread > 0 else 0.0
    inside = 0 < best < TRIED - 1
    decided = bool(t.size >= 4 and explained >= 0.5 and inside)
    return ExponentialFit(float(constant), amplitude, floor, explained, decided)


def _residual(t: np.ndarray, y: np.ndarray, constant: float) -> tuple[float, float, float]:
    """The sum of squares that is left, the floor and the amplitude, for one time constant."""
    columns = np.stack([np.ones_like(t), np.exp(-t / constant)], axis=1)
    (floor, amplitude), *_ = np.linalg.lstsq(columns, y, rcond=None)
    left = y - columns @ np.asarray([floor, amplitude])
    return float((left**2).sum()), float(floor), float(amplitude)
