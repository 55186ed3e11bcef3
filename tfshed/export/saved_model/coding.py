"""Codes arrays in few bytes: where their non-zeros are, their exponents, and their other bits.

The module `decoding` reads the bytes back with standard operations of TensorFlow. A sparse array
is stored as the distances between its non-zeros (or blocks of non-zeros) and their values. A
float32 value is split into its exponent, its sign with the upper mantissa, and the lower mantissa.
Each of these parts is a zlib stream of its own: Huffman's code compresses distances and exponents
almost to their entropy, and the other bits are nearly random and cannot be compressed. `-0.0` is
stored as zero and comes back as `0.0`. Every other bit is kept, including NaNs and denormals.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

# Below this sparsity all values are stored: distances would take more bytes than zeros do.
MINIMUM_SPARSITY = 0.04
# The factors of block lengths that are tried, in this order, along each axis. Blocks may extend
# along at most BLOCK_AXES axes.
FACTORS = (2, 2, 2, 2, 3)
BLOCK_AXES = 2
# Bytes at the start and at the end of a stream on which ways to compress it are tried.
SAMPLE = 1 << 17
# A stream that would not shrink below this share is stored uncompressed, which is faster to read.
WORTHWHILE = 0.98


@dataclasses.dataclass(frozen=True)
class Step:
    """How positions of blocks become positions of elements along one axis.

    Attributes:
        inner: the number of blocks between neighbours along this axis, in the array of blocks.
        size: the length of a block along this axis.
        full: the number of elements between neighbours along this axis, in the full array.
    """

    inner: int
    size: int
    full: int


@dataclasses.dataclass(frozen=True)
class Coded:
    """One array as bytes.

    Attributes:
        kind: "split" (float32 as exponents, signs and mantissas) or "planes" (a stream for each
            byte of the values).
        item: the bytes that are kept of each value. A "split" with 2 holds bfloat16 values.
        gap: the bytes of a distance: 1, 2 or 4. 0 if there are no distances, as all values are
            stored.
        size: the number of elements of the array.
        values: the number of values that are stored.
        digits: the number of exponents in one byte. 0 in "planes".
        steps: the shape of the blocks of non-zeros, outer axis first. Empty if they are stored
            singly.
        streams: the zlib streams. The distances come first, if there are any. A "split" goes on
            with a list of the exponents that occur, the exponent of each value as a position in
            that list, the signs with the upper mantissas, and the lower mantissas; "planes" go on
            with one stream for each byte, the lowest byte first.
    """

    kind: str
    item: int
    gap: int
    size: int
    values: int
    digits: int
    steps: tuple[Step, ...]
    streams: tuple[bytes, ...]


def encode(array: np.ndarray, *, mantissa_bytes: int = 3, idle_steps: int | None = None) -> Coded:
    """Codes an array of numbers of 1, 2, 4 or 8 bytes and fewer than 2^31 elements.

    Args:
        array: An array of any shape and strides.
        mantissa_bytes: How many of the three mantissa bytes of float32 are kept. 3 (default) keeps
            all. 1 keeps what a bfloat16 has room for and cuts off the rest, so round before.
        idle_steps: If given, an array without zeros is coded like a sparse one, with distances and
            this many steps that change nothing. The operations that read sparse arrays can then
            read it too. Default None: such an array has neither distances nor steps.

    >>> coded = encode(np.eye(64, dtype="float32"))
    >>> coded.kind, coded.values, sum(len(stream) for stream in coded.streams) < 150
    ('split', 64, True)
    """
    bits, kept = _kept(array)
    streams: list[np.ndarray] = []
    steps: tuple[Step, ...] = ()
    gap = 0
    full = _has_few_zeros(kept)
    if full and idle_steps is None:
        values = np.where(kept.reshape(-1), bits, bits.dtype.type(0))
    else:
        if full:
            steps, mask = (Step(1, 1, 1),) * (idle_steps or 0), np.ones(kept.size, bool)
        else:
            steps, mask = blocks_of(kept)
        gaps, places = _distances(mask)
        streams, gap = [gaps], gaps.dtype.itemsize
        elements = _elements(places, steps)
        values = np.where(kept.reshape(-1)[elements], bits[elements], bits.dtype.type(0))
    kind, item, digits = "planes", array.dtype.itemsize, 0
    if array.dtype == np.float32:
        kind, item = "split", mantissa_bytes + 1
        exponents, digits, codes = _exponents(values)
        upper = values >> 16
        streams += [exponents, codes, ((upper & 127) | ((upper >> 8) & 128)).astype("u1")]
        streams += [(values & 0xFFFF).astype("<u2")] if mantissa_bytes == 3 else []
    else:
        streams += list(np.ascontiguousarray(values).view("u1").reshape(-1, item).T)
    compressed = tuple(compress(stream) for stream in streams)
    return Coded(kind, item, gap, bits.size, values.size, digits, steps, compressed)


def is_full(array: np.ndarray) -> bool:
    """Whether `encode` treats an array as one without zeros."""
    return _has_few_zeros(_kept(array)[1])


def _kept(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bits of an array's numbers, flattened, and where they are not zero, in its shape."""
    floats = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    bits = np.ascontiguousarray(array).reshape(-1).view(f"<u{array.dtype.itemsize}")
    # The bits are compared, not the floats: a processor that flushes denormals would take those for
    # zeros. Shifting by one drops the sign, so -0.0 is zero.
    magnitude = bits << bits.dtype.type(1) if floats else bits
    return bits, (magnitude != 0).reshape(array.shape)


def _has_few_zeros(kept: np.ndarray) -> bool:
    return bool(np.count_nonzero(kept) > (1 - MINIMUM_SPARSITY) * kept.size)


def compress(array: np.ndarray) -> bytes:
    """Compresses to a zlib stream: with repeats, by Huffman's code alone, or not at all.

    The way that makes the smallest stream of a sample is taken.

    >>> len(compress(np.zeros(10**6, "u1"))) < 2000
    True
    """
    raw = array.tobytes()
    sample = raw if len(raw) <= 2 * SAMPLE else raw[:SAMPLE] + raw[-SAMPLE:]
    strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
    sizes = [len(_deflate(sample, 6, strategy)) for strategy in strategies]
    if min(sizes) > WORTHWHILE * len(sample):
        return _deflate(raw, 0, zlib.Z_DEFAULT_STRATEGY)
    return _deflate(raw, 6, strategies[sizes.index(min(sizes))])


def _deflate(raw: bytes, level: int, strategy: int) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
    return stream.compress(raw) + stream.flush()


def _distances(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each place that is kept, how many places before it are left out; and the kept places.

    A distance takes one byte, unless the array is nearly empty. Where a distance is too long for a
    byte, a zero in between is kept as well, as in Deep Compression (Han et al. 2016,
    arXiv 1510.00149, section 2).
    """
    places = np.flatnonzero(mask)
    gaps = np.diff(places, prepend=-1) - 1
    for dtype, reach in (("u1", 1 << 8), ("<u2", 1 << 16)):
        # A gap of `reach` or more needs `extra` zeros in between. If more than half as many zeros
        # as values would be stored, a wider type for all distances takes less space.
        extra = gaps // reach
        if extra.sum() <= places.size // 2:
            far = np.flatnonzero(extra)
            before = places[far] - gaps[far] - 1
            filled = [p + reach * np.arange(1, extra[i] + 1) for p, i in zip(before, far)]
            places = np.sort(np.concatenate([places, *filled]))
            return (np.diff(places, prepend=-1) - 1).astype(dtype), places
    return gaps.astype("<i4"), places


def _exponents(values: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """The exponents that occur, how many of them are put in one byte, and these bytes.

    Huffman's code spends at least one bit on a symbol, but most exponents carry less than one bit
    of information. Several exponents therefore share a byte, which is a number whose base is the
    number of different exponents, the first exponent being its lowest digit.
    """
    exponents = ((values >> 23) & 255).astype("u1")
    found = np.flatnonzero(np.bincount(exponents, minlength=256)).astype("u1")
    found = found if found.size else np.zeros(1, "u1")
    # With 6 different exponents, for instance, 3 of them fit in a byte, since 6^3 = 216 <= 256.
    digits = next((n for n in range(8, 1, -1) if found.size**n <= 256), 1)
    rank = np.zeros(256, "u1")
    rank[found] = np.arange(found.size)
    ranks = np.zeros((-(-values.size // digits), digits), "u1")
    ranks.reshape(-1)[: values.size] = rank[exponents]
    codes = ranks[:, 0].copy()
    for i in range(1, digits):
        # The sum stays below found.size**digits <= 256, so uint8 does not overflow.
        codes += ranks[:, i] * np.uint8(found.size**i % 256)
    return found, digits, codes


def blocks_of(kept: np.ndarray) -> tuple[tuple[Step, ...], np.ndarray]:
    """Finds the blocks in which non-zeros lie, such as 4 adjacent input channels.

    Args:
        kept: bool, where the array is not zero.

    Returns:
        The steps that lead from blocks to elements, and a flat bool array of the blocks that are
        kept.
    """
    found: list[tuple[int, int]] = []
    mask = kept
    for axis in range(kept.ndim):
        size, failed = 1, 0
        for factor in FACTORS:
            # A factor that has failed would fail again: larger blocks are filled even less.
            if factor == failed or mask.shape[axis] % factor:
                continue
            joined = _joined(mask, axis, factor)
            # Blocks that are not full would store zeros: accept at most 5 % more values.
            values = np.count_nonzero(mask)
            zeros = np.count_nonzero(joined) * factor - values
            if values and zeros <= 0.05 * min(values, mask.size - values):
                mask, size = joined, size * factor
            else:
                failed = factor
        found += [(axis, size)] if size > 1 else []
        if len(found) == BLOCK_AXES:
            break
    steps = [
        Step(_product(mask.shape[axis + 1 :]), size, _product(kept.shape[axis + 1 :]))
        for axis, size in found
    ]
    return tuple(steps), mask.reshape(-1)


def _joined(mask: np.ndarray, axis: int, size: int) -> np.ndarray:
    """The mask of blocks of `size` along an axis: a block is kept if any of its elements is."""
    shape = mask.shape
    pieces = mask.reshape(*shape[:axis], shape[axis] // size, size, *shape[axis + 1 :])
    return np.logical_or.reduce(pieces, axis=axis + 1)


def _elements(places: np.ndarray, steps: tuple[Step, ...]) -> np.ndarray:
    """Positions in the array of all elements of the blocks at `places`, block by block."""
    positions, offsets = places, np.zeros(1, np.int64)
    for step in steps:
        # Along this axis each block becomes `size` elements: `positions` are moved to the first
        # element of each block, and `offsets` are those of the other elements.
        positions = positions + positions // step.inner * ((step.size - 1) * step.inner)
        offsets = (offsets[:, None] + np.arange(step.size) * step.full).reshape(-1)
    return (positions[:, None] + offsets).reshape(-1)


def _product(sizes: tuple[int, ...]) -> int:
    return int(np.prod(sizes, dtype=np.int64))
