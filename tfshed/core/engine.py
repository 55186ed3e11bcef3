"""One pruning update and one look for shed weights, as pure functions on arrays.

    sparsity -> how many must go -> keys of what is kept -> the smallest -> masks -> weights

Nothing here knows of optimizers, layers or variables: a weight is a tensor, a mask is a bool tensor
of the granularity's mask shape. Section 3.2 of Azarian & Porikli 2021 (arXiv 2103.10629).

Kernels are ranked in scopes: all in scope 0, or each in one of its own. Scalars come as vectors
with one element for each scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tfshed.core.backend import bits, cond, float_of, live
from tfshed.core.config import PruningConfig
from tfshed.core.criteria import INF_KEY
from tfshed.core.granularity import Axes, Unstructured
from tfshed.core.selection import count, largest, smallest, smallest_per_group, threshold


class State(NamedTuple):
    """What an update reads and gives back, besides the masks.

    Attributes:
        theta: float32 (scopes,), the shedding threshold.
        kept: int32 (scopes,), weights (blocks) kept after the last update.
        scheduled: int32 (scopes,), pruned by the schedule since the start.
        shed: int32 (scopes,), found shed at the updates since the start.
        survives_above: float32 (scopes,), the magnitude above which unstructured pruning would keep
            a weight (for selective weight decay; 0 where that is off).
    """

    theta: Any
    kept: Any
    scheduled: Any
    shed: Any
    survives_above: Any


def target_count(sparsity: Any, totals: np.ndarray) -> Any:
    """How many of `totals` groups are to be kept: round((1 - sparsity) total), never none.

    In float32 on every backend, so that they agree: exact up to 2^24 groups, beyond that to one
    part in 2^24.

    >>> ops.convert_to_numpy(target_count(0.85, np.array([1000, 3]))).tolist()
    [150, 1]
    """
    totals = ops.convert_to_tensor(totals.astype("float32"))
    keep = ops.round((1.0 - ops.cast(sparsity, "float32")) * totals)
    return ops.maximum(ops.cast(keep, "int32"), 1)


def update(
    config: PruningConfig,
    weights: Sequence[Any],
    masks: Sequence[Any],
    axes: Sequence[Axes],
    scopes: Sequence[int],
    state: State,
    sparsity: Any,
    step: Any,
) -> tuple[list[Any], State]:
    """Brings every scope to its target: prunes only what shedding has not already removed.

    Args:
        config: how to prune.
        weights: the kernels: tensors, or variables that are read here.
        masks: bool, True = kept, one for each kernel.
        axes: the channel axes of each kernel.
        scopes: the number of each kernel's scope.
        state: before the update.
        sparsity: float32 scalar, the target 1 - r.
        step: int32 scalar.

    Returns:
        The new masks and state.
    """
    granularity = config.granularity
    masks = [live(m) for m in masks]
    kept = count(masks, scopes)
    totals = np.zeros(max(scopes) + 1, np.int64)
    # Without monotony nothing is shed, and what is ranked is everything.
    if config.monotone:
        ranked, present, shed = masks, kept, state.shed + state.kept - kept
    else:
        ranked, present, shed = [ops.ones_like(m) for m in masks], None, state.shed
    keys = []
    for weight, mask, ax, scope in zip(weights, ranked, axes, scopes):
        scores = granularity.scores(live(weight), ax)
        key = config.criterion.keys(scores, int(totals[scope]), step)
        keys.append(ops.where(mask, key, -1) if config.monotone else key)
        totals[scope] += int(np.prod(mask.shape))
    if present is None:
        present = ops.convert_to_tensor(totals.astype("int32"))
    if granularity.grouped:
        n = granularity.drop_count(sparsity)
        gone = [
            granularity.join(smallest_per_group(granularity.split(k, ax), n), ax)
            for k, ax in zip(keys, axes)
        ]
        new = [ops.logical_and(m, ops.logical_not(g)) for m, g in zip(ranked, gone)]
        theta, new_kept = state.theta, count(new, scopes)
    else:
        surplus = ops.maximum(present - target_count(sparsity, totals), 0)
        new, theta, surplus = cond(
            ops.any(surplus > 0),
            lambda: _drop(config, keys, ranked, scopes, state.theta, present, surplus, totals),
            lambda: (list(ranked), state.theta, surplus),
        )
        new, new_kept = list(new), present - surplus
    survives = _survives_above(config, weights, scopes, sparsity, state)
    after = State(theta, new_kept, state.scheduled + kept - new_kept, shed, survives)
    return new, after


def _drop(
    config: PruningConfig,
    keys: list[Any],
    masks: list[Any],
    scopes: Sequence[int],
    theta: Any,
    present: Any,
    surplus: Any,
    totals: np.ndarray,
) -> tuple[list[Any], Any, Any]:
    """Masks without the `surplus` smallest, the threshold, and how many went in the end."""
    # What was gone before has the key -1 and counts among the smallest.
    gone_before = ops.convert_to_tensor(totals.astype("int32")) - present
    n = ops.where(surplus > 0, gone_before + surplus, 0)
    gone = smallest(keys, scopes, n, gone_before)
    new = [ops.logical_and(m, ops.logical_not(g)) for m, g in zip(masks, gone)]
    if config.granularity.spares:
        new = [config.granularity.spare(a, m, k) for a, m, k in zip(new, masks, keys)]
        gone = [ops.logical_not(a) for a in new]
        surplus = present - count(new, scopes)
    if not config.criterion.grows_threshold:
        return new, theta, surplus
    top = _largest(gone, keys, scopes)
    # A diverged net: infinite or NaN weights would have to go, which says nothing about them.
    sound = top < INF_KEY
    new = list(
        cond(
            ops.all(sound),
            lambda: new,
            lambda: [ops.where(sound[s], a, m) for a, m, s in zip(new, masks, scopes)],
        )
    )
    if config.grow_threshold:
        reached = float_of(ops.maximum(top, 0))
        theta = ops.where(ops.logical_and(sound, reached > theta), reached, theta)
    return new, theta, ops.where(sound, surplus, 0)


def _largest(chosen: Sequence[Any], keys: Sequence[Any], scopes: Sequence[int]) -> Any:
    """The largest chosen key of each scope, -1 where none is."""
    each = [largest(ops.where(c, k, -1)) for c, k in zip(chosen, keys)]
    by_scope = [[x for x, t in zip(each, scopes) if t == s] for s in range(max(scopes) + 1)]
    return ops.stack([ops.max(ops.stack(row)) for row in by_scope])


def _survives_above(
    config: PruningConfig,
    weights: Sequence[Any],
    scopes: Sequence[int],
    sparsity: Any,
    state: State,
) -> Any:
    decay = config.weight_decay
    if decay is None:
        return state.survives_above
    if decay.threshold is not None:
        return ops.full(state.theta.shape, decay.threshold, dtype="float32")
    keys = [bits(live(w)) for w in weights]
    totals = np.zeros(max(scopes) + 1, np.int32)
    np.add.at(totals, list(scopes), [int(np.prod(k.shape)) for k in keys])
    below = ops.convert_to_tensor(totals) - target_count(sparsity, totals)
    cut = threshold(keys, scopes, below)[0]
    return float_of(ops.clip(cut, 0, INF_KEY))


def shed(config: PruningConfig, weight: Any, mask: Any, theta: Any, ax: Axes) -> tuple[Any, Any]:
    """The mask without what fell below `theta`, and the weight with exact zeros under the mask.

    Args:
        weight: tensor, the kernel after the optimizer's step.
        mask: bool, True = kept.
        theta: float32 scalar, or None to leave shedding out.
        ax: the kernel's channel axes.

    Returns:
        `(mask, weight)`.
    """
    granularity, zero = config.granularity, ops.zeros((), dtype=weight.dtype)
    if theta is None:
        return mask, ops.where(granularity.spread(mask, weight.shape, ax), weight, zero)
    # On the bits, not the floats: a NaN stays kept (a diverged run must show NaN and not an empty
    # net), and a compiled step does not flush denormals here.
    keys = bits(granularity.scores(weight, ax))
    kept = granularity.spare(ops.logical_and(mask, keys >= bits(theta)), mask, keys)
    if not isinstance(granularity, Unstructured):
        return kept, ops.where(granularity.spread(kept, weight.shape, ax), weight, zero)
    weight = ops.where(kept, weight, zero)
    # The same as `kept`, read off the new weights: XLA computes the two results in two loops, and
    # the second would otherwise run the whole of the optimizer's update again.
    return ops.logical_or(bits(weight) > 0, ops.logical_and(mask, theta <= 0.0)), weight
