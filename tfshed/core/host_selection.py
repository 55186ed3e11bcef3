"""The n smallest keys in NumPy: for keys that are in the memory of the host and have values now.

The search of a compiled step reads all keys once for each guess. Here one reading is enough: it
counts what is below a narrow bracket and copies what is inside, which is then divided by
`np.partition`. The bracket is taken from a sorted sample. All passes go over pieces that stay in
the cache of a processor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

PIECE = 1 << 16
SAMPLE = 32768
# The bracket has so many standard deviations of a sample's rank on each side.
DEVIATIONS = 4.0
LOWEST, HIGHEST = -2, int(np.iinfo(np.int32).max)


def smallest(keys: Sequence[np.ndarray], n: int) -> list[np.ndarray]:
    """Returns masks of exactly the `n` smallest keys of all arrays; equal keys go by position.

    Args:
        keys: int32 arrays of any shapes, values >= -1.
        n: How many, 0 <= n <= number of keys.

    Returns:
        A list of bool arrays of the shapes of `keys`; True = among the n smallest.

    >>> a, b = np.array([4, 0, 2], "int32"), np.array([[2], [7]], "int32")
    >>> [m.tolist() for m in smallest([a, b], 2)]
    [[False, True, True], [[False], [False]]]
    """
    flat = [np.ascontiguousarray(k).reshape(-1) for k in keys]
    total = sum(k.size for k in flat)
    if n <= 0 or n >= total:
        return [np.full(k.shape, n > 0) for k in keys]
    low, high = _bracket(flat, n, total)
    below, inside = divide(flat, low, high)
    # The sample may be misleading, if keys follow a pattern that its stride meets.
    if n <= below:
        low, high = LOWEST, low
    elif n > below + inside.size:
        low, high = high, HIGHEST
    else:
        return _masks(keys, flat, inside, n - below)
    below, inside = divide(flat, low, high)
    return _masks(keys, flat, inside, n - below)


def _bracket(flat: Sequence[np.ndarray], n: int, total: int) -> tuple[int, int]:
    """Keys `(low, high)`: low < the n-th key <= high, unless the sample is misleading."""
    # The stride is odd: an even one would miss whole columns of kernels.
    stride = max(1, total // SAMPLE) | 1
    sample = np.sort(np.concatenate([k[::stride] for k in flat]))
    rank = n * sample.size / total
    margin = 2 + DEVIATIONS * np.sqrt(min(rank, sample.size - rank))
    first, last = int(rank - margin), int(rank + margin) + 1
    low = int(sample[first]) - 1 if first >= 0 else LOWEST
    return low, int(sample[last]) if last < sample.size else HIGHEST


def _pieces(flat: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    for k in flat:
        for start in range(0, k.size, PIECE):
            yield k[start : start + PIECE]


def divide(flat: Sequence[np.ndarray], low: int, high: int) -> tuple[int, np.ndarray]:
    """How many keys are <= low, and all keys above low that are <= high."""
    below, inside = 0, []
    under, up_to = np.empty(PIECE, bool), np.empty(PIECE, bool)
    for piece in _pieces(flat):
        a, b = under[: piece.size], up_to[: piece.size]
        np.less_equal(piece, low, out=a)
        np.less_equal(piece, high, out=b)
        below += int(np.count_nonzero(a))
        np.not_equal(a, b, out=b)
        # Positions first: few are found, and a bool index takes twice as long.
        inside.append(piece[np.flatnonzero(b)])
    return below, np.concatenate(inside)


def _masks(
    keys: Sequence[np.ndarray], flat: Sequence[np.ndarray], inside: np.ndarray, rank: int
) -> list[np.ndarray]:
    """The masks, where the boundary is the key number `rank`, from 1, of those `inside`."""
    boundary = np.partition(inside, rank - 1)[rank - 1]
    ties = rank - int(np.count_nonzero(inside < boundary))
    all_ties = int(np.count_nonzero(inside == boundary)) == ties
    found = []
    for key, k in zip(keys, flat):
        mask = k <= boundary if all_ties else k < boundary
        if not all_ties:
            for start in range(0, k.size, PIECE):
                if not ties:
                    break
                places = np.flatnonzero(k[start : start + PIECE] == boundary)[:ties] + start
                mask[places] = True
                ties -= places.size
        found.append(mask.reshape(key.shape))
    return found
