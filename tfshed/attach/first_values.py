"""The threshold, target and counts with which a group of kernels begins, next to its masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfshed.attach.group_state import GroupState
from tfshed.attach.ownership import Owner
from tfshed.attach.starting import Start
from tfshed.core.backend import to_numpy


class FirstValues(NamedTuple):
    """What the variables of a group are set to, as NumPy arrays.

    Attributes:
        threshold: float32 (scopes,).
        target: float32 (), the target keep-ratio.
        counts: int32 (3, scopes), see `PruningGroup.counts`.
        carried: one array for each variable in `GroupState.carried`.
    """

    threshold: np.ndarray
    target: np.ndarray | np.float32
    counts: np.ndarray
    carried: list[np.ndarray]


def first_values(state: GroupState, totals: np.ndarray, start: Start) -> FirstValues:
    """The values with which a group begins: those of the run before where it continues that run.

    Args:
        state: the variables of the group that begins; only their shapes are looked at.
        totals: int64 (scopes,), how many weights (blocks) each scope has.
        start: the masks, and the owners from whom the group takes over, from `start_of`.
    """
    kept = np.zeros(len(totals), np.int64)
    for mask, scope in zip(start.masks, state.scopes):
        kept[scope] += int(mask.sum())
    counts = np.stack([kept, np.zeros_like(kept), np.zeros_like(kept)])
    threshold = np.full((len(totals),), state.config.threshold, "float32")
    target: np.ndarray | np.float32 = np.float32(1.0)
    carried = [np.zeros(tuple(v.shape), "float32") for v in state.carried]
    newest = _newest(start.owners)
    if newest is not None and newest.state.config.key() == state.config.key():
        old = newest.state
        target = to_numpy(old.target)
        # Where all kernels share one threshold, those that were frozen meanwhile get it too.
        if state.config.scope == "global":
            threshold[:] = to_numpy(old.threshold)
        else:
            for scope, owner in zip(state.scopes, start.owners):
                if owner is not None:
                    threshold[scope] = owner.threshold
        # What such kernels have lost counts as pruned by the schedule.
        counts[1] = totals - kept
        same = [owner is not None and owner.state is old for owner in start.owners]
        if all(same) and len(same) == len(old.masks):
            counts = to_numpy(old.counts)
            carried = [to_numpy(v) for v in old.carried]
    return FirstValues(threshold, target, counts.astype("int32"), carried)


def _newest(owners: Sequence[Owner | None]) -> Owner | None:
    """The owner that claimed its kernel last; None if there is no owner."""
    known = [owner for owner in owners if owner is not None]
    return max(known, key=lambda owner: owner.number, default=None)
