"""What a net sheds in answer to the removal of a set of weights, against a shadow as its null.

The paper's picture of a cascade is that removing some weights (the seed) makes others useless,
which then shrink. So knock a set out, go on training, and list what falls below the threshold next.
Weights fall below it in ordinary training, too: a run from the same weights, in which nothing is
removed and the same threshold is only observed (`observe=True`), says how many.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tfshed.experiments.analysis.over_time import lost_at
from tfshed.observe.snapshot_file import MaskSnapshot


@dataclasses.dataclass(frozen=True)
class ShedResponse:
    """What was shed after a set was knocked out.

    Attributes:
        seed: How many weights (blocks) were knocked out.
        others: How many weights (blocks) the net has besides.
        shed, null: How many of the others were shed, and how many in the shadow.
        both: How many of them were shed in both runs.
        excess: (shed - null) / others, the share of the net that is the answer.
        p: The probability of a difference as large as this or larger if the runs differed by
            chance: weights that were shed in only one run would have been shed in either with
            probability 1/2 (a two-sided sign test, exact up to 1000 such weights). Weights of a net
            do not move independently, so it is a lower limit: confirm with other seeds.
        first: By the path of each kernel, the indices of weights that were shed only after the
            knock-out, int (number, axes), those that went first in front.
        steps: By the path of each kernel, the step of the snapshot in which each of them is missing
            first.
    """

    seed: int
    others: int
    shed: int
    null: int
    both: int
    excess: float
    p: float
    first: dict[str, np.ndarray]
    steps: dict[str, np.ndarray]


def knock_out(weights: Sequence[np.ndarray], seed: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """The weights with a set of them at exactly zero.

    Args:
        weights: arrays, as `model.get_weights()` has them.
        seed: for each of them a bool array of its shape, True = knocked out; or None.

    >>> knock_out([np.array([1.0, 2.0]), np.ones(1)], [np.array([True, False]), None])
    [array([0., 2.]), array([1.])]
    """
    if len(weights) != len(seed):
        raise ValueError(f"seed: expected {len(weights)} arrays, received {len(seed)}")
    for i, (w, s) in enumerate(zip(weights, seed)):
        if s is not None and np.shape(s) != np.shape(w):
            raise ValueError(f"seed[{i}]: expected shape {np.shape(w)}, received {np.shape(s)}")
    return [
        np.array(w) if s is None else np.where(s, np.zeros((), np.asarray(w).dtype), w)
        for w, s in zip(weights, seed)
    ]


def shed_response(
    run: Sequence[MaskSnapshot], shadow: Sequence[MaskSnapshot], seed: Sequence[np.ndarray]
) -> ShedResponse:
    """Compares what a run sheds after a knock-out with what its shadow sheds.

    Both runs are to have a schedule that prunes nothing, such as `OneShot(0.0)`, and the same
    `threshold`; the run has its seed at zero and `hold_zeros=True`, the shadow has the
    weights as they were and `observe=True`.

    Args:
        run, shadow: their snapshots, in the order of steps, at the same steps.
        seed: a bool array of each kernel's mask shape, True = knocked out.

    Raises:
        ValueError: the snapshots are of other steps or kernels.
    """
    if [s.step for s in run] != [s.step for s in shadow] or not run:
        raise ValueError(
            "run, shadow: expected snapshots at the same steps, received "
            f"{[s.step for s in run]} and {[s.step for s in shadow]}"
        )
    shapes = [np.shape(s) for s in seed]
    if any(shapes != [m.shape for m in each[0].masks] for each in (run, shadow)):
        raise ValueError(f"seed: expected arrays of the masks' shapes, received {shapes}")
    when, null = lost_at(run), lost_at(shadow)
    shed = [(w < len(run)) & ~s for w, s in zip(when, seed)]
    shed_null = [(w < len(shadow)) & ~s for w, s in zip(null, seed)]
    only = [a & ~b for a, b in zip(shed, shed_null)]
    others = _count([~s for s in seed])
    a, b = _count(shed), _count(shed_null)
    both = _count([x & y for x, y in zip(shed, shed_null)])
    first, steps = {}, {}
    for kernel, mask, times in zip(run[0].kernels, only, when):
        places, at = np.argwhere(mask), times[mask]
        order = np.argsort(at, kind="stable")
        first[kernel.path] = places[order]
        steps[kernel.path] = np.asarray([run[i].step for i in at[order]], np.int64)
    return ShedResponse(
        seed=_count(seed),
        others=others,
        shed=a,
        null=b,
        both=both,
        excess=(a - b) / others if others else 0.0,
        p=sign_test(a - both, b - both),
        first=first,
        steps=steps,
    )


def _count(sets: Sequence[np.ndarray]) -> int:
    return sum(int(x.sum()) for x in sets)


def sign_test(one: int, other: int) -> float:
    """The two-sided probability of a split as uneven as this, or more, by fair coins.

    >>> sign_test(5, 5), sign_test(8, 0)
    (1.0, 0.0078125)
    """
    n, k = one + other, min(one, other)
    if n > 1000:
        # The normal approximation with its correction for whole numbers.
        z = max(0.0, abs(one - other) - 1) / math.sqrt(n)
        return math.erfc(z / math.sqrt(2))
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return min(1.0, 2 * tail / 2**n)
