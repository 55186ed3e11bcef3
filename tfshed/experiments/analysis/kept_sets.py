"""How much two sets of kept weights (or blocks) have in common, and how much chance makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfshed.observe.snapshot_file import MaskSnapshot

Masks = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Overlap:
    """The overlap of two runs at nearly the same keep-ratio.

    Attributes:
        steps: The steps of the two snapshots.
        keep_ratios: Their keep-ratios.
        iou: The size of the intersection / the size of the union of the kept sets.
        chance: The IoU that independent sets of these sizes have on average.
        low, high: Between these two lie the IoUs of 95 % of independent sets of these sizes.
    """

    steps: tuple[int, int]
    keep_ratios: tuple[float, float]
    iou: float
    chance: float
    low: float
    high: float


def iou(a: Masks, b: Masks) -> float:
    """|A and B| / |A or B| of two kept sets; 1 if both are empty.

    Args:
        a, b: a bool array for each kernel, True = kept.

    Raises:
        ValueError: the arrays are of different shapes.

    >>> iou([np.array([True, True, False])], [np.array([True, False, True])])
    0.3333333333333333
    """
    _check_alike(a, b)
    both = sum(int(np.logical_and(x, y).sum()) for x, y in zip(a, b))
    either = sum(int(np.logical_or(x, y).sum()) for x, y in zip(a, b))
    return both / either if either else 1.0


def chance_iou(keep_ratio: float, other: float | None = None) -> float:
    """The IoU of independent sets: r / (2 - r), and r s / (r + s - r s) for two keep-ratios.

    Args:
        keep_ratio: of the one set, in [0, 1].
        other: of the other set. None (default) means the same.

    >>> round(chance_iou(0.15), 3)
    0.081
    """
    r, s = keep_ratio, keep_ratio if other is None else other
    for value in (r, s):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"keep_ratio: expected a number from 0 to 1, received {value!r}")
    return r * s / (r + s - r * s) if r + s else 1.0


def permutation_interval(
    a: Masks,
    b: Masks,
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    within: str = "net",
) -> tuple[float, float]:
    """Between which two IoUs chance alone lies: one of the sets is shuffled many times.

    The size of the intersection of a shuffled set with another one has the hypergeometric
    distribution, so that nothing has to be shuffled.

    Args:
        a, b: a bool array for each kernel, True = kept.
        level: the share of the draws between the two numbers, in (0, 1). Default 0.95.
        draws: how many, at least 1. Default 2000.
        seed: of the draws.
        within: "net" (default) shuffles over all kernels, "kernel" within each of them. Two runs
            that agree only in how much they keep of each kernel lie in the second interval.

    >>> a = [np.arange(1000) < 150]
    >>> low, high = permutation_interval(a, a)
    >>> low < chance_iou(0.15) < high < iou(a, a)
    True
    """
    _check_alike(a, b)
    if within not in ("net", "kernel"):
        raise ValueError(f'within: expected "net" or "kernel", received {within!r}')
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a number in (0, 1), received {level!r}")
    if draws < 1:
        raise ValueError(f"draws: expected at least 1, received {draws!r}")
    sizes = [(x.size, int(x.sum()), int(y.sum())) for x, y in zip(a, b)]
    if within == "net":
        n, kept, other = np.sum(sizes, axis=0).tolist()
        sizes = [(n, kept, other)]
    rng = np.random.default_rng(seed)
    both = np.zeros(draws, np.int64)
    for n, kept, other in sizes:
        both += rng.hypergeometric(kept, n - kept, other, draws)
    union = sum(kept + other for _, kept, other in sizes) - both
    found = np.where(union > 0, both / np.maximum(union, 1), 1.0)
    edge = (1.0 - level) / 2.0
    low, high = np.quantile(found, [edge, 1.0 - edge])
    return float(low), float(high)


def overlap_over_time(
    a: Sequence[MaskSnapshot], b: Sequence[MaskSnapshot], tolerance: float = 0.02
) -> list[Overlap]:
    """The overlap of two runs over training, each time at equal keep-ratio.

    Args:
        a, b: the snapshots of the two runs, in the order of steps.
        tolerance: the largest difference of two keep-ratios that count as equal. Snapshots of `a`
            for which `b` has none so near are left out. Default 0.02.
    """
    found = []
    for one in a:
        other = at_keep_ratio(b, one.keep_ratio)
        if abs(other.keep_ratio - one.keep_ratio) > tolerance:
            continue
        low, high = permutation_interval(one.masks, other.masks)
        found.append(
            Overlap(
                (one.step, other.step),
                (one.keep_ratio, other.keep_ratio),
                iou(one.masks, other.masks),
                chance_iou(one.keep_ratio, other.keep_ratio),
                low,
                high,
            )
        )
    return found


def at_keep_ratio(snapshots: Sequence[MaskSnapshot], keep_ratio: float) -> MaskSnapshot:
    """The snapshot whose keep-ratio is nearest to a number; of several the first.

    Raises:
        ValueError: there are no snapshots.
    """
    if not snapshots:
        raise ValueError("snapshots: expected at least one, received none")
    return min(snapshots, key=lambda each: abs(each.keep_ratio - keep_ratio))


def consensus(runs: Sequence[Masks]) -> list[np.ndarray]:
    """By how many runs each weight (or block) is kept: an int array for each kernel.

    >>> [c.tolist() for c in consensus([[np.array([True, False])], [np.array([True, True])]])]
    [[2, 1]]
    """
    if not runs:
        raise ValueError("runs: expected the masks of at least one run, received none")
    for masks in runs[1:]:
        _check_alike(runs[0], masks)
    return [np.asarray(np.sum(kernel, axis=0, dtype=np.int64)) for kernel in zip(*runs)]


def consensus_shares(runs: Sequence[Masks]) -> tuple[np.ndarray, np.ndarray]:
    """Which share of the net is kept by 0, 1, ... runs, and which would be by chance.

    Returns:
        Two float arrays of the number of runs + 1. The second is for independent sets, of which
        each keeps as much of each kernel as the run does. What the first has more at its end is
        the consensus of the runs.
    """
    counts = consensus(runs)
    most, total = len(runs), sum(c.size for c in counts)
    shares = sum(np.bincount(c.ravel(), minlength=most + 1) for c in counts) / total
    expected = np.zeros(most + 1)
    for i, count in enumerate(counts):
        distribution = np.ones(1)
        for masks in runs:
            kept = float(masks[i].mean()) if masks[i].size else 0.0
            distribution = np.convolve(distribution, [1.0 - kept, kept])
        expected += distribution * count.size / total
    return np.asarray(shares, "float64"), expected


def _check_alike(a: Masks, b: Masks) -> None:
    shapes = [[np.shape(x) for x in masks] for masks in (a, b)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"masks: expected two sets of the same shapes, received {shapes}")
