"""One pruning update and one look for shed weights, as pure functions on arrays.

    weights -> scores -> how many have to be pruned -> the lowest scores -> masks -> weights

Nothing here knows optimizers, layers or variables: a weight is a tensor, and a mask is a bool
tensor of the granularity's mask shape. The source is section 3.2 of Azarian & Porikli 2021 (arXiv
2103.10629).

Kernels are ranked within scopes: all kernels are in scope 0, or each kernel has a scope of its own.
What belongs to a scope, such as its threshold, is one element of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfshed.core.backend import INF_BITS, bits, cond, float_of, read
from tfshed.core.config import PruningConfig
from tfshed.core.counting import target_count
from tfshed.core.criteria import Context
from tfshed.core.granularity import Axes, Ranking
from tfshed.core.selection import boundary_key, count, largest

# How many weights the collapse guard looks at in all scopes together, and at least in each.
GUARD_SAMPLE, LEAST_GUARD_SAMPLE = 16384, 1024


class Totals(NamedTuple):
    """The numbers of each scope that an update reads and returns, besides the masks.

    Attributes:
        threshold: float32 (scopes,), the shedding threshold.
        kept: int32 (scopes,), elements kept after the last update.
        scheduled: int32 (scopes,), elements pruned by the schedule since the start.
        shed: int32 (scopes,), elements found shed at the updates since the start.
        decay_threshold: float32 (scopes,), the largest magnitude of a weight that unstructured
            pruning would remove (for selective weight decay; 0 where that is off).
    """

    threshold: Any
    kept: Any
    scheduled: Any
    shed: Any
    decay_threshold: Any


def contexts(
    config: PruningConfig,
    weights: Sequence[Any],
    axes: Sequence[Axes],
    step: Any,
    position: int = 0,
    gradients: Sequence[Any] | None = None,
    slots: Sequence[Mapping[str, Any]] | None = None,
    states: Sequence[Mapping[str, Any]] | None = None,
) -> list[Context]:
    """Returns what the criterion sees of each kernel.

    Args:
        config: How to prune.
        weights: The kernels: tensors, or variables that are read where they are needed.
        axes: The channel axes of each kernel.
        step: int32 scalar.
        position: How many elements the kernels before these have in the model.
        gradients, slots, states: One for each kernel, where the criterion asks for them.
    """
    found = []
    for i, (weight, ax) in enumerate(zip(weights, axes)):
        context = Context(
            weight,
            config.granularity,
            ax,
            step,
            position,
            gradient=None if gradients is None else gradients[i],
            slots=None if slots is None else slots[i],
            state=None if states is None else states[i],
        )
        position += int(np.prod(context.shape))
        found.append(context)
    return found


def update(
    config: PruningConfig,
    kernels: Sequence[Context],
    masks: Sequence[Any],
    scopes: Sequence[int],
    before: Totals,
    sparsity: Any,
) -> tuple[list[Any], Totals]:
    """Brings every scope to its target: prunes only what shedding has not already removed.

    Args:
        config: How to prune.
        kernels: What the criterion sees of each kernel, from `contexts`.
        masks: bool, True = kept, one for each kernel.
        scopes: The number of each kernel's scope.
        before: The numbers of each scope before the update.
        sparsity: float32 scalar, the target 1 - r.

    Returns:
        The new masks and numbers.
    """
    masks = [read(m) for m in masks]
    kept = count(masks, scopes)
    totals = np.zeros(max(scopes) + 1, np.int64)
    np.add.at(totals, list(scopes), [int(np.prod(m.shape)) for m in masks])
    shed = before.shed
    if config.monotone:
        may_go, available, shed = masks, kept, before.shed + before.kept - kept
    else:
        # Masks are made anew of all weights, and between updates nothing is shed.
        may_go = [ops.ones_like(m) for m in masks]
        available = ops.convert_to_tensor(totals.astype("int32"))
    scores = [config.criterion.scores(kernel) for kernel in kernels]
    ranking = Ranking(
        keys=[config.criterion.keys(s) for s in scores],
        masks=may_go,
        axes=[kernel.axes for kernel in kernels],
        scopes=scopes,
        available=available,
        totals=totals,
        sparsity=sparsity,
        signed=config.criterion.signed,
    )
    new = config.granularity.select(ranking)
    new, reached = _checked(config, kernels, scores, may_go, new, scopes, before.threshold)
    after = count(new, scopes)
    return new, Totals(
        threshold=reached,
        kept=after,
        scheduled=before.scheduled + kept - after,
        shed=shed,
        decay_threshold=_decay_threshold(config, kernels, scopes, sparsity, before),
    )


def _checked(
    config: PruningConfig,
    kernels: Sequence[Context],
    scores: Sequence[Any],
    old: Sequence[Any],
    new: Sequence[Any],
    scopes: Sequence[int],
    reached: Any,
) -> tuple[list[Any], Any]:
    """The new masks and the new threshold of each scope.

    A scope in which weights with an infinite or NaN score would be pruned keeps its old masks: the
    net has diverged, and its scores say nothing about the weights.
    """
    pruned_now = [ops.logical_and(m, ops.logical_not(n)) for m, n in zip(old, new)]
    grows = config.grow_threshold
    # Scores that are no floats are always finite.
    floats = "float" in keras.backend.standardize_dtype(scores[0].dtype)
    if not floats and not grows:
        return list(new), reached
    sound = ops.ones((max(scopes) + 1,), dtype="bool")
    if floats:
        highest = _largest(pruned_now, [bits(s) for s in scores], scopes)
        sound = highest < INF_BITS
        new = list(
            cond(
                ops.all(sound),
                lambda: list(new),
                lambda: [ops.where(sound[s], n, m) for n, m, s in zip(new, old, scopes)],
            )
        )
    if grows:
        # The threshold is compared with magnitudes, so it is the largest magnitude that was pruned,
        # whatever the scores of the criterion are.
        if floats and config.criterion.scores_are_magnitudes:
            top = highest
        else:
            magnitudes = [config.granularity.magnitude_bits(k.weight, k.axes) for k in kernels]
            top = _largest(pruned_now, magnitudes, scopes)
        pruned = ops.logical_and(sound, ops.logical_and(top >= 0, top < INF_BITS))
        largest_pruned = float_of(ops.maximum(top, 0))
        higher = ops.logical_and(pruned, largest_pruned > reached)
        reached = ops.where(higher, largest_pruned, reached)
    return list(new), reached


def _largest(chosen: Sequence[Any], keys: Sequence[Any], scopes: Sequence[int]) -> Any:
    """The largest chosen key >= 0 of each scope, -1 where none is."""
    each = [largest(ops.where(c, k, -1)) for c, k in zip(chosen, keys)]
    by_scope = [[x for x, t in zip(each, scopes) if t == s] for s in range(max(scopes) + 1)]
    return ops.stack([ops.max(ops.stack(row)) for row in by_scope])


def _decay_threshold(
    config: PruningConfig,
    kernels: Sequence[Context],
    scopes: Sequence[int],
    sparsity: Any,
    before: Totals,
) -> Any:
    decay = config.weight_decay
    if decay is None or decay.threshold is not None:
        return before.decay_threshold
    keys = [bits(kernel.weight) for kernel in kernels]
    totals = np.zeros(max(scopes) + 1, np.int64)
    np.add.at(totals, list(scopes), [int(np.prod(k.shape)) for k in keys])
    n = ops.convert_to_tensor(totals.astype("int32")) - target_count(sparsity, totals)
    # The search ends at any number between the n-th key and the next, and this is to be the n-th.
    reached = boundary_key(keys, scopes, n)[0]
    smallest = [ops.logical_and(k <= reached[s], n[s] > 0) for k, s in zip(keys, scopes)]
    return float_of(ops.clip(_largest(smallest, keys, scopes), 0, INF_BITS))


def shed(
    config: PruningConfig, weight: Any, mask: Any, threshold: Any, ax: Axes
) -> tuple[Any, Any]:
    """Removes the weights below the threshold: from the mask, and from the weight as exact zeros.

    Args:
        config: How to prune.
        weight: Tensor, the kernel after the optimizer's step.
        mask: bool, True = kept.
        threshold: float32 scalar, or None to leave shedding out.
        ax: The kernel's channel axes.

    Returns:
        `(mask, weight)`. With `config.observe` the weight is the one that was given.
    """
    if config.observe:
        return mask if threshold is None else _above(config, weight, mask, threshold, ax), weight
    granularity, zero = config.granularity, ops.zeros((), dtype=weight.dtype)
    if threshold is None:
        return mask, ops.where(granularity.expand(mask, weight.shape, ax), weight, zero)
    kept = _above(config, weight, mask, threshold, ax)
    if tuple(mask.shape) != tuple(weight.shape):
        return kept, ops.where(granularity.expand(kept, weight.shape, ax), weight, zero)
    weight = ops.where(kept, weight, zero)
    # This equals `kept`, but is read off the new weights: XLA computes the two results in two
    # loops, and the second would otherwise run the whole of the optimizer's update again. Where
    # there is no threshold, a weight that became zero by itself is kept.
    return ops.logical_or(bits(weight) > 0, ops.logical_and(mask, threshold <= 0.0)), weight


def guarded(
    config: PruningConfig,
    weights: Sequence[Any],
    masks: Sequence[Any],
    thresholds: Any,
    axes: Sequence[Axes],
    scopes: Sequence[int],
    floors: Any,
) -> tuple[Sequence[Any], Any, Any]:
    """The masks and thresholds for `shed` with which no scope is left with too few weights.

    In scopes of at most `GUARD_SAMPLE` single weights, and for blocks and filters, all elements are
    counted that would be left. A larger scope is judged by samples, at equal distances:

    - of all its masks as they are before this step: nothing is shed if less than the floor is left;
    - of what this step would leave of its smallest kernels, which have at most a sixteenth of its
      weights (or else of its smallest kernel alone): nothing is shed if less than their part of the
      floor, or nothing at all, would be left.

    So one step may take a scope below its floor only where its smallest kernels hold out, and can
    never empty it. Why not look at all new weights: a compiled step would have to write them to
    memory before any of them is shed, which costs more than all the rest of shedding.

    Args:
        config: How to prune.
        weights: The kernels after the optimizer's step.
        masks: bool, True = kept, one for each kernel.
        thresholds: float32 (scopes,); 0 where nothing is to be shed.
        axes: The channel axes of each kernel.
        scopes: The number of each kernel's scope.
        floors: int32 (scopes,), at least 1: how many elements are to be left.

    Returns:
        `(masks, thresholds, held)`: the masks and thresholds for `shed`, where None in place of all
        thresholds means that what is shed is already removed from the masks; and bool (scopes,),
        True where shedding was held back.
    """
    sizes = [int(np.prod(m.shape)) for m in masks]
    totals = np.zeros(max(scopes) + 1, np.int64)
    np.add.at(totals, list(scopes), sizes)
    if any(tuple(m.shape) != tuple(w.shape) for m, w in zip(masks, weights)):
        kept = [
            _above(config, w, m, thresholds[s], ax)
            for w, m, ax, s in zip(weights, masks, axes, scopes)
        ]
        held = ops.logical_and(count(kept, scopes) < floors, thresholds > 0.0)
        return [ops.where(held[s], m, k) for m, k, s in zip(masks, kept, scopes)], None, held
    most = max(GUARD_SAMPLE // len(totals), LEAST_GUARD_SAMPLE)
    judged = _smallest(sizes, scopes, totals)
    before, after = [], []
    for weight, mask, s, also_after in zip(weights, masks, scopes, judged):
        # The distance is odd. An even one would miss whole columns of kernels whose width is a
        # power of two.
        every = int(totals[s]) // most | 1 if totals[s] > most else 1
        mask = ops.reshape(mask, (-1,))[::every]
        before.append(mask)
        if also_after:
            keys = bits(ops.reshape(weight, (-1,))[::every])
            after.append(ops.logical_and(mask, keys >= bits(thresholds[s])))
    few = ops.zeros((len(totals),), "bool")
    for sample, where in ((before, scopes), (after, [s for s, x in zip(scopes, judged) if x])):
        seen = np.zeros(len(totals), np.int64)
        np.add.at(seen, list(where), [int(x.shape[0]) for x in sample])
        share = ops.convert_to_tensor((seen / totals).astype("float32"))
        least = ops.maximum(ops.cast(ops.cast(floors, "float32") * share, "int32"), 1)
        few = ops.logical_or(few, count(sample, where) < least)
    held = ops.logical_and(few, thresholds > 0.0)
    return masks, ops.where(held, 0.0, thresholds), held


def _smallest(sizes: Sequence[int], scopes: Sequence[int], totals: np.ndarray) -> list[bool]:
    """Which kernels the collapse guard looks at after the step: see `guarded`."""
    chosen, seen = [False] * len(sizes), np.zeros(len(totals), np.int64)
    for i in sorted(range(len(sizes)), key=lambda i: sizes[i]):
        s = scopes[i]
        most = totals[s] if totals[s] <= GUARD_SAMPLE else totals[s] // 16
        if not seen[s] or seen[s] + sizes[i] <= most:
            chosen[i] = True
            seen[s] += sizes[i]
    return chosen


def _above(config: PruningConfig, weight: Any, mask: Any, threshold: Any, ax: Axes) -> Any:
    """The mask without the weights below the threshold."""
    # Bits are compared and not floats: a NaN is kept (a diverged run has to show NaN and not an
    # empty net), and a compiled step does not flush denormal numbers to zero.
    keys = config.granularity.magnitude_bits(weight, ax)
    return config.granularity.with_last(ops.logical_and(mask, keys >= bits(threshold)), mask, keys)
