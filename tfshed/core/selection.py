"""Exactly the n smallest of many tensors at once, without joining or sorting them.

The search reads the 4 bytes of every weight's key once for each guess, and writes nothing. A sorted
sample of some thousand keys gives the first guess, and the secant rule the next ones. The count of
keys below a guess is exact, and the search ends when this count is the one that is wanted. Equal
keys are told apart by their position, so that exactly n are found each time and a run repeats.

Several rankings ("scopes": one for the whole net, or one for each kernel) are searched side by side
in one loop, so that a compiled step holds one loop however many kernels there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.core import host_selection
from tfshed.core.backend import INT32_MAX, cond, count_true, host_array, while_loop

# Keys in the sample of a single scope; several share twice as many, down to the least.
SAMPLE, LEAST_SAMPLE = 8192, 512
# Up to so many keys in all scopes together are sorted, which takes as long as sorting the sample.
SORTED_WHOLE = SAMPLE
# Whether NumPy selects where keys have values in the memory of one CPU.
ON_HOST = True
LANES = 32
# So many secant steps are tried before plain bisection takes over, which needs 31 steps at most,
# whatever the keys are.
SECANT_STEPS = 10


def _totals(keys: Sequence[Any], scopes: Sequence[int]) -> np.ndarray:
    totals = np.zeros(max(scopes) + 1, np.int64)
    np.add.at(totals, list(scopes), [int(np.prod(k.shape)) for k in keys])
    return totals


def _per_scope(values: Sequence[Any], scopes: Sequence[int]) -> Any:
    """Sums of scalars by scope: (number of scopes,)."""
    sums: list[Any] = [0] * (max(scopes) + 1)
    for value, scope in zip(values, scopes):
        sums[scope] = sums[scope] + value
    return ops.stack(sums)


def count(masks: Sequence[Any], scopes: Sequence[int]) -> Any:
    """Number of Trues by scope: int32 (number of scopes,)."""
    return _per_scope([count_true(m) for m in masks], scopes)


def _lanes(x: Any) -> tuple[Any, Any]:
    """A tensor as a matrix (LANES, columns) and the rest, to be reduced over the first axis first.

    On CPUs the XLA in TensorFlow reduces a tensor to a scalar one element at a time, but to a row
    by adding whole vectors, which is several times faster. The XLA in JAX is fast by itself, and
    slower with rows.
    """
    flat = ops.reshape(x, (-1,))
    even = int(flat.shape[0]) // LANES * LANES
    return ops.reshape(flat[:even], (LANES, even // LANES)), flat[even:]


def largest(keys: Any) -> Any:
    """The largest of int32 keys >= -1: int32 scalar."""
    if keras.backend.backend() != "tensorflow":
        return ops.max(keys)
    # On CPUs the XLA in TensorFlow takes the maximum of what it computes on the way one element at
    # a time, but that of two tensors a vector at a time: so the eighths are brought together first.
    flat = ops.reshape(keys, (-1,))
    eighth = int(flat.shape[0]) // 8
    parts = [flat[i * eighth : (i + 1) * eighth] for i in range(8)] if eighth else []
    while len(parts) > 1:
        parts = [ops.maximum(a, b) for a, b in zip(parts[::2], parts[1::2])]
    return ops.max(ops.concatenate([*parts, flat[8 * eighth :]]))


def _sample(keys: Sequence[Any], scopes: Sequence[int]) -> tuple[Any, Any]:
    """A sorted sample of the keys >= 0 of each scope, (scopes, size), and how many are in it.

    A row with fewer keys is filled up with the largest int32.
    """
    totals = _totals(keys, scopes)
    size = max(LEAST_SAMPLE, SAMPLE if len(totals) == 1 else 2 * SAMPLE // len(totals))
    rows: list[list[Any]] = [[] for _ in totals]
    for k, scope in zip(keys, scopes):
        # The stride is odd. An even one would miss whole columns of kernels whose width is a power
        # of two.
        rows[scope].append(ops.reshape(k, (-1,))[:: max(1, int(totals[scope]) // size) | 1])
    lengths = [sum(int(p.shape[0]) for p in row) for row in rows]
    padded = []
    for row, length in zip(rows, lengths):
        rest = ops.full((max(lengths) - length,), -1, dtype="int32")
        padded.append(ops.concatenate([*row, rest]))
    sample = ops.stack(padded)
    present = ops.sum(ops.cast(sample >= 0, "int32"), axis=-1)
    return ops.sort(ops.where(sample < 0, INT32_MAX, sample), axis=-1), present


def boundary_key(
    keys: Sequence[Any], scopes: Sequence[int], n: Any, removed: Any = 0
) -> tuple[Any, Any, Any]:
    """The key of each scope that divides its `n` smallest keys from the others.

    Args:
        keys: int32 tensors of any shapes, values >= -1.
        scopes: for each of `keys` the number of its scope, 0, 1, ...
        n: int32 (scopes,), 0 <= n <= number of keys in the scope.
        removed: int32 (scopes,), how many keys are -1, or a lower number; 0 by default. It only
            makes the first guess better.

    Returns:
        `(boundary, at_boundary, below)`, each int32 (scopes,), with `at_boundary` =
        count(keys <= boundary) >= n. Where `at_boundary` equals n, the n smallest keys are those
        <= boundary. Otherwise several elements share the key `boundary`, `below` =
        count(keys < boundary) < n, and the first n - below of them by position are among the n
        smallest.

    >>> import numpy as np
    >>> from keras import ops
    >>> found = boundary_key([np.array([5, 1, 3, 3], "int32")], [0], np.array([2], "int32"))
    >>> [ops.convert_to_numpy(x).tolist() for x in found]
    [[3], [3], [1]]
    """
    totals = ops.convert_to_tensor(_totals(keys, scopes).astype("int32"))
    keys = [ops.convert_to_tensor(k, dtype="int32") for k in keys]
    n = ops.convert_to_tensor(n, dtype="int32")
    removed = ops.minimum(ops.convert_to_tensor(removed, dtype="int32"), n)
    sample, size = _sample(keys, scopes)
    last = ops.maximum(ops.cast(size, "float32") - 1.0, 0.0)
    # How many ranks of the sample there are for each rank among the keys that are not removed.
    density = ops.cast(size, "float32") / ops.maximum(ops.cast(totals - removed, "float32"), 1.0)
    rank = ops.cast(n - removed, "float32") * density

    def at(rank: Any) -> tuple[Any, Any]:
        rank = ops.maximum(ops.minimum(ops.floor(rank), last), 0.0)
        index = ops.expand_dims(ops.cast(rank, "int32"), -1)
        return rank, ops.squeeze(ops.take_along_axis(sample, index, axis=-1), -1)

    # The slope of the count near the guess, in ranks per key, stands for the secant rule's second
    # point. The guess is wrong by about one standard deviation of a sample's rank, so the slope is
    # taken over four.
    margin = 2.0 + 4.0 * ops.sqrt(ops.maximum(ops.minimum(rank, last - rank), 0.0))
    (low, low_key), (high, high_key) = at(rank - margin), at(rank + margin)
    span = ops.maximum(ops.cast(high_key - low_key, "float32"), 1.0)
    slope = ops.maximum(high - low, 1.0) / ops.maximum(density, 1e-9) / span

    # The loop keeps: count(keys <= lo) < n, or n = 0;  count(keys <= hi) >= n.
    like = ops.zeros_like(n)
    start = (
        ops.convert_to_tensor(np.int32(0)),
        at(rank)[1],
        slope,
        like - 2,
        # Where n is 0, the search is over before it starts.
        ops.where(n > 0, like + INT32_MAX, like - 2),
        like,
        ops.where(n > 0, totals, like),
    )

    def unfinished(
        step: Any, guess: Any, slope: Any, lo: Any, hi: Any, c_lo: Any, c_hi: Any
    ) -> Any:
        return ops.any(ops.logical_and(c_hi > n, lo < hi - 1))

    def narrow(step: Any, guess: Any, slope: Any, lo: Any, hi: Any, c_lo: Any, c_hi: Any) -> Any:
        guess = ops.maximum(lo + 1, ops.minimum(guess, hi - 1))
        counted = count([k <= guess[s] for k, s in zip(keys, scopes)], scopes)
        open_ = ops.logical_and(c_hi > n, lo < hi - 1)
        enough = counted >= n
        # The slope between this point and the end on its other side, once there is one.
        other = ops.where(enough, lo, hi)
        known = ops.logical_and(other >= 0, other < INT32_MAX)
        rise = ops.cast(ops.where(enough, c_lo, c_hi) - counted, "float32")
        chord = rise / ops.cast(ops.where(other == guess, 1, other - guess), "float32")
        slope = ops.where(ops.logical_and(known, chord > 0.0), chord, slope)
        up, down = ops.logical_and(open_, ops.logical_not(enough)), ops.logical_and(open_, enough)
        lo, c_lo = ops.where(up, guess, lo), ops.where(up, counted, c_lo)
        hi, c_hi = ops.where(down, guess, hi), ops.where(down, counted, c_hi)
        # The next guess aims at the middle of the gap behind the n-th key. While there is no point
        # on the other side it aims somewhat beyond, so that both ends close in and bisection, if it
        # is needed, has few steps. It is clipped before the cast, since float32 cannot hold
        # INT32_MAX itself.
        missing = ops.cast(n - counted, "float32")
        beyond = ops.sign(missing) * ops.sqrt(ops.abs(missing))
        missing = missing + ops.where(known, 0.5, beyond)
        move = ops.clip(missing / slope, -(2.0**30), 2.0**30)
        secant = guess + ops.cast(ops.round(move), "int32")
        inside = ops.logical_and(secant > lo, secant < hi)
        # `hi - lo` would overflow while both are at their ends.
        middle = ops.right_shift(lo, 1) + ops.right_shift(hi, 1)
        step = step + 1
        guess = ops.where(ops.logical_and(inside, step < SECANT_STEPS), secant, middle)
        return step, guess, slope, lo, hi, c_lo, c_hi

    *_, hi, below, at_boundary = while_loop(unfinished, narrow, start)
    return hi, at_boundary, below


def smallest(keys: Sequence[Any], scopes: Sequence[int], n: Any, removed: Any = 0) -> list[Any]:
    """Masks of exactly the `n` smallest keys of each scope; equal keys go by position.

    Args:
        keys: int32 tensors of any shapes, values >= -1. A key of -1 marks an element that is
            removed already; it is smaller than every other key.
        scopes: for each of `keys` the number of its scope, 0, 1, ...
        n: int32 (scopes,), 0 <= n <= number of keys in the scope.
        removed: int32 (scopes,), how many keys are -1, where that is known; 0 by default. It saves
            passes over the keys.

    Returns:
        A list of bool tensors of the shapes of `keys`; True = among the n smallest of its scope.

    >>> import numpy as np
    >>> from keras import ops
    >>> a, b = np.array([4, 0, 2], "int32"), np.array([[2], [7]], "int32")
    >>> [m.tolist() for m in map(ops.convert_to_numpy, smallest([a, b], [0, 0], [2]))]
    [[False, True, True], [[False], [False]]]
    >>> [m.tolist() for m in map(ops.convert_to_numpy, smallest([a, b], [0, 1], [0, 1]))]
    [[False, False, False], [[True], [False]]]
    """
    keys = [ops.convert_to_tensor(k, dtype="int32") for k in keys]
    n = ops.convert_to_tensor(n, dtype="int32")
    arrays = [host_array(x) for x in (n, *keys)] if ON_HOST else [None]
    if all(a is not None for a in arrays):
        return _on_host(arrays, scopes)
    if _totals(keys, scopes).sum() <= SORTED_WHOLE:
        return _sorted_whole(keys, scopes, n)
    boundary, at_boundary, below = boundary_key(keys, scopes, n, removed)
    return list(
        cond(
            ops.any(at_boundary > n),
            lambda: _first_ties(keys, scopes, boundary, n - below),
            lambda: [k <= boundary[s] for k, s in zip(keys, scopes)],
        )
    )


def _on_host(arrays: Sequence[Any], scopes: Sequence[int]) -> list[Any]:
    """What `smallest` returns, in NumPy: `arrays` are `n` and the keys."""
    n, *keys = arrays
    found: dict[int, Any] = {}
    for scope in range(max(scopes) + 1):
        mine = [i for i, s in enumerate(scopes) if s == scope]
        chosen = host_selection.smallest([keys[i] for i in mine], int(n[scope]))
        found |= zip(mine, map(ops.convert_to_tensor, chosen))
    return [found[i] for i in range(len(keys))]


def _sorted_whole(keys: Sequence[Any], scopes: Sequence[int], n: Any) -> list[Any]:
    """What `smallest` returns, by sorting: for no more keys than the search's sample has."""
    found: dict[int, Any] = {}
    for scope in range(max(scopes) + 1):
        mine = [i for i, s in enumerate(scopes) if s == scope]
        flat = ops.concatenate([ops.reshape(keys[i], (-1,)) for i in mine])
        chosen, start = smallest_per_group(flat, n[scope]), 0
        for i in mine:
            end = start + int(np.prod(keys[i].shape))
            found[i] = ops.reshape(chosen[start:end], keys[i].shape)
            start = end
    return [found[i] for i in range(len(keys))]


def _first_ties(keys: Sequence[Any], scopes: Sequence[int], boundary: Any, ties: Any) -> list[Any]:
    """All keys below `boundary`, and the first `ties` of those equal to it, by position."""
    chosen = []
    seen: dict[int, Any] = {}
    for k, s in zip(keys, scopes):
        rows = ops.reshape(k, (-1, k.shape[-1])) if len(k.shape) else ops.reshape(k, (1, 1))
        tied = rows == boundary[s]
        in_row = ops.sum(ops.cast(tied, "int32"), axis=-1)
        before = seen.get(s, 0) + ops.cumsum(in_row) - in_row
        seen[s] = seen.get(s, 0) + ops.sum(in_row)
        taken = ops.maximum(ops.minimum(ties[s] - before, in_row), 0)
        # A running count over a whole kernel would cost more than all passes before it. But only
        # one row is taken in part, so the place within a row is looked up in that row alone.
        partly = ops.logical_and(taken > 0, taken < in_row)
        row = ops.argmax(ops.cast(partly, "int32"))
        rank = ops.cumsum(ops.cast(ops.take(tied, row, axis=0), "int32"))
        columns = ops.sum(ops.cast(rank <= ops.take(taken, row), "int32"))
        # Python numbers would take the width of floatx.
        whole = ops.where(taken > 0, np.int32(rows.shape[-1]), np.int32(0))
        taken_here = ops.expand_dims(ops.where(partly, ops.cast(columns, "int32"), whole), -1)
        first = ops.logical_and(tied, ops.arange(rows.shape[-1], dtype="int32") < taken_here)
        chosen.append(ops.logical_or(k < boundary[s], ops.reshape(first, k.shape)))
    return chosen


def fold_signed(
    keys: Sequence[Any], masks: Sequence[Any], scopes: Sequence[int], n: Any
) -> list[Any]:
    """Keys >= 0 with the same `n` smallest in each scope as keys of both signs.

    Floats of both signs need 32 bits, and the search has 31. But either the n smallest are all
    negative, or all negative ones are among them. So only the keys of one sign have to be told
    apart.

    Args:
        keys: int32 tensors, values > -2^31 (see `tfshed.core.backend.signed_bits`).
        masks: bool tensors of the same shapes; True where a key takes part.
        scopes: for each of `keys` the number of its scope.
        n: int32 (scopes,), how many keys are to be found in each scope.

    Returns:
        int32 tensors of the same shapes, values >= 0.

    >>> import numpy as np
    >>> keys, masks = [np.array([-7, 3, -2, 0], "int32")], [np.ones(4, bool)]
    >>> for n in (1, 3):
    ...     [key] = fold_signed(keys, masks, [0], np.array([n], "int32"))
    ...     ops.convert_to_numpy(key).argsort(kind="stable")[:n].tolist()
    [0]
    [0, 2, 3]
    """
    keys = [ops.convert_to_tensor(k, dtype="int32") for k in keys]
    negative = [ops.logical_and(k < 0, m) for k, m in zip(keys, masks)]
    among_negative = count(negative, scopes) >= n
    return [
        ops.where(
            among_negative[s],
            # -2^31 + 1 becomes 0, and every key that is not negative becomes the largest one.
            ops.minimum(k, 0) + INT32_MAX,
            # Every negative key becomes 0, and 0 becomes 1; the two largest keys become one.
            ops.where(k < 0, 0, ops.minimum(k, INT32_MAX - 1) + 1),
        )
        for k, s in zip(keys, scopes)
    ]


def smallest_per_group(keys: Any, n: Any) -> Any:
    """The `n` smallest keys along the last axis of each group; equal keys go by position.

    Args:
        keys: int32 tensor (..., group size).
        n: int32 scalar, how many in every group.

    Returns:
        Bool tensor of the shape of `keys`.

    >>> import numpy as np
    >>> from keras import ops
    >>> ops.convert_to_numpy(smallest_per_group(np.array([[3, 1, 1, 2]], "int32"), 2)).tolist()
    [[False, True, True, False]]
    """
    # The rank of each element is its place in the (stable) order of its group.
    rank = ops.argsort(ops.argsort(keys, axis=-1), axis=-1)
    return ops.cast(rank, "int32") < n
