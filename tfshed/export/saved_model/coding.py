"""Arrays to short bytes: where the numbers are, their exponents, and the rest of their bits.

The module `decoding` reads it back, with TensorFlow's own operations only. A sparse array is
the distances between its non-zeros (or blocks of them) and their values; a float32 value is its
exponent, its sign with the upper mantissa, and the lower mantissa. Each of these is a zlib stream
of its own: distances and exponents come close to their entropy by Huffman's code, the rest is
nearly random and stays as it is. `-0.0` counts as zero and comes back as `0.0`; every other bit is
kept, those of NaNs and denormals too.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

# With fewer zeros than this, distances cost more than the zeros that they spare.
MINIMUM_SPARSITY = 0.04
# What lengths of blocks are made of, and along how many axes blocks are looked for.
FACTORS = (2, 2, 2, 2, 3)
BLOCK_AXES = 2
# Ways to compress are tried on so many bytes of a stream's start and of its end.
SAMPLE = 1 << 17
# A stream that shrinks by less is stored: reading it back would take time for nothing.
WORTHWHILE = 0.98


@dataclasses.dataclass(frozen=True)
class Step:
    """Blocks of `size` along one axis, `inner` blocks and `full` elements from one to the next."""

    inner: int
    size: int
    full: int


@dataclasses.dataclass(frozen=True)
class Coded:
    """One array as bytes.

    Attributes:
        kind: "split" (float32 by exponent, sign and mantissa) or "planes" (byte by byte).
        item: bytes kept of each value; 2 in a "split" are those of a bfloat16.
        gap: bytes of a distance, 1, 2 or 4; 0 where all values are stored.
        size: elements of the array.
        values: values stored.
        digits: exponents in a byte; 0 in "planes".
        steps: the blocks in which the values come, outer axis first; none where they come singly.
        streams: zlib streams: distances, if any; then, of a "split", the exponents that occur,
            those of the values by their position in that list, sign and upper mantissa, and lower
            mantissa; else the planes from the lowest byte on.
    """

    kind: str
    item: int
    gap: int
    size: int
    values: int
    digits: int
    steps: tuple[Step, ...]
    streams: tuple[bytes, ...]


def encode(array: np.ndarray, *, mantissa_bytes: int = 3, alike: int | None = None) -> Coded:
    """Codes an array of numbers of 1, 2, 4 or 8 bytes and fewer than 2^31 elements.

    Args:
        array: any shape and strides.
        mantissa_bytes: of a float32's three, 3 (default) keeps all; 1 leaves what a bfloat16
            holds and cuts the rest off: round before.
        alike: how many steps to give to an array without zeros, none of which does anything, and
            distances, so that sparse arrays' operations read it back, too. Default: neither.

    >>> coded = encode(np.eye(64, dtype="float32"))
    >>> coded.kind, coded.values, sum(len(stream) for stream in coded.streams) < 150
    ('split', 64, True)
    """
    bits, kept = _kept(array)
    streams: list[np.ndarray] = []
    steps: tuple[Step, ...] = ()
    gap = 0
    full = _mostly(kept)
    if full and alike is None:
        values = np.where(kept.reshape(-1), bits, bits.dtype.type(0))
    else:
        if full:
            steps, mask = (Step(1, 1, 1),) * (alike or 0), np.ones(kept.size, bool)
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
    """Whether it is coded as an array without zeros."""
    return _mostly(_kept(array)[1])


def _kept(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bits of its numbers, in a row, and which numbers are not zero, in its shape."""
    floats = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    bits = np.ascontiguousarray(array).reshape(-1).view(f"<u{array.dtype.itemsize}")
    # By the bits: where denormals count as zeros, a comparison of floats would lose them.
    magnitude = bits << bits.dtype.type(1) if floats else bits
    return bits, (magnitude != 0).reshape(array.shape)


def _mostly(kept: np.ndarray) -> bool:
    return bool(np.count_nonzero(kept) > (1 - MINIMUM_SPARSITY) * kept.size)


def compress(array: np.ndarray) -> bytes:
    """A zlib stream in the best of three ways, by a sample: repeats, Huffman's code, stored.

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

    In bytes, unless the array is nearly empty: across longer distances some zeros are kept, as in
    Deep Compression (Han et al. 2016, arXiv 1510.00149, section 2).
    """
    places = np.flatnonzero(mask)
    gaps = np.diff(places, prepend=-1) - 1
    for dtype, reach in (("u1", 1 << 8), ("<u2", 1 << 16)):
        extra = gaps // reach
        if extra.sum() <= places.size // 2:
            far = np.flatnonzero(extra)
            before = places[far] - gaps[far] - 1
            filled = [p + reach * np.arange(1, extra[i] + 1) for p, i in zip(before, far)]
            places = np.sort(np.concatenate([places, *filled]))
            return (np.diff(places, prepend=-1) - 1).astype(dtype), places
    return gaps.astype("<i4"), places


def _exponents(values: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """The exponents that occur, how many go in a byte, and these bytes.

    Huffman's code cannot give less than a bit to a symbol, and most exponents are worth less:
    several are one symbol, the first the lowest digit of a number to the base of their kinds.
    """
    exponents = ((values >> 23) & 255).astype("u1")
    found = np.flatnonzero(np.bincount(exponents, minlength=256)).astype("u1")
    found = found if found.size else np.zeros(1, "u1")
    digits = next((n for n in range(8, 1, -1) if found.size**n <= 256), 1)
    rank = np.zeros(256, "u1")
    rank[found] = np.arange(found.size)
    ranks = np.zeros((-(-values.size // digits), digits), "u1")
    ranks.reshape(-1)[: values.size] = rank[exponents]
    codes = ranks[:, 0].copy()
    for i in range(1, digits):
        codes += ranks[:, i] * np.uint8(found.size**i % 256)
    return found, digits, codes


def blocks_of(kept: np.ndarray) -> tuple[tuple[Step, ...], np.ndarray]:
    """The blocks in which non-zeros come, such as 4 adjacent input channels, and which are kept."""
    found: list[tuple[int, int]] = []
    mask = kept
    for axis in range(kept.ndim):
        size, failed = 1, 0
        for factor in FACTORS:
            if factor == failed or mask.shape[axis] % factor:
                continue
            joined = _joined(mask, axis, factor)
            # Of whole blocks one in `factor` is left; half-empty ones would store zeros.
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
    shape = mask.shape
    pieces = mask.reshape(*shape[:axis], shape[axis] // size, size, *shape[axis + 1 :])
    return np.logical_or.reduce(pieces, axis=axis + 1)


def _elements(places: np.ndarray, steps: tuple[Step, ...]) -> np.ndarray:
    """Positions in the array of all elements of the blocks at `places`, block by block."""
    positions, offsets = places, np.zeros(1, np.int64)
    for step in steps:
        positions = positions + positions // step.inner * ((step.size - 1) * step.inner)
        offsets = (offsets[:, None] + np.arange(step.size) * step.full).reshape(-1)
    return (positions[:, None] + offsets).reshape(-1)


def _product(sizes: tuple[int, ...]) -> int:
    return int(np.prod(sizes, dtype=np.int64))
