"""How large one update of the weights is, and how many weights it brings near the threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from tfshed.attach.group import PruningGroup
from tfshed.core.backend import read, to_numpy


@dataclasses.dataclass(frozen=True)
class Watched:
    """One kernel that is looked at.

    Attributes:
        variable: The kernel.
        magnitudes: A function from an array of the kernel's shape to the magnitudes of its weights
            or blocks.
        mask: Its mask, or None for a kernel that is not pruned.
        threshold: A function without arguments that returns the threshold in force.
    """

    variable: Any
    magnitudes: Any
    mask: Any
    threshold: Any


def watched_in(groups: Sequence[PruningGroup]) -> list[Watched]:
    """The kernels of pruning groups."""
    found = []
    for group in groups:
        for kernel, mask, scope in zip(group.kernels, group.masks, group.scopes):
            found.append(
                Watched(
                    kernel.variable,
                    _magnitudes(group, kernel),
                    mask,
                    _threshold(group, scope),
                )
            )
    return found


def watched_control(variables: Sequence[Any], threshold: float) -> list[Watched]:
    """The kernels of a model that is not pruned, with the threshold of a control run."""
    return [Watched(variable, ops.abs, None, lambda: threshold) for variable in variables]


def _magnitudes(group: PruningGroup, kernel: Any) -> Any:
    granularity = group.config.granularity
    return lambda weight: granularity.magnitudes(weight, kernel.axes)


def _threshold(group: PruningGroup, scope: int) -> Any:
    return lambda: read(group.threshold)[scope]


def copies(watched: Sequence[Watched]) -> list[Any]:
    """The weights now, as arrays of their own on the device: the step may free the old ones."""
    return [ops.copy(_float(each.variable)) for each in watched]


def _float(variable: Any) -> Any:
    return ops.cast(read(variable), "float32")


def update_sizes(watched: Sequence[Watched], before: Sequence[Any] | None) -> dict[str, Any]:
    """The numbers of an update, read from the device at once.

    Args:
        watched: The kernels.
        before: From `copies`, before the update; None if it is not known.

    Returns:
        dict of weight_norm (the L2 norm of all kernels together); update_norm and update_ratio
        (that of the update, and divided by that of the weights); near_threshold (the share of kept
        weights or blocks that another update of the same size could bring below the threshold).
        The last three are None if `before` is.
    """
    sums, near, kept = [], [], []
    for i, each in enumerate(watched):
        now = _float(each.variable)
        sums.append(ops.stack([ops.sum(ops.square(now)), ops.zeros(())]))
        if before is None:
            continue
        change = now - before[i]
        sums[-1] = ops.stack([ops.sum(ops.square(now)), ops.sum(ops.square(change))])
        distance = each.magnitudes(now) - each.threshold()
        close = ops.logical_and(distance >= 0, distance <= each.magnitudes(change))
        mask = read(each.mask) if each.mask is not None else distance >= 0
        near.append(ops.sum(ops.cast(ops.logical_and(mask, close), "float32")))
        kept.append(ops.sum(ops.cast(mask, "float32")))
    weights, updates = np.sqrt(to_numpy(ops.stack(sums)).astype(np.float64).sum(axis=0))
    found: dict[str, Any] = {"weight_norm": float(weights)}
    if before is None:
        return {**found, "update_norm": None, "update_ratio": None, "near_threshold": None}
    counts = to_numpy(ops.stack([ops.stack(near), ops.stack(kept)])).astype(np.float64).sum(axis=1)
    return {
        **found,
        "update_norm": float(updates),
        "update_ratio": float(updates / weights) if weights else None,
        "near_threshold": float(counts[0] / counts[1]) if counts[1] else None,
    }
