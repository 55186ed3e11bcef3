"""Random numbers as functions of a seed, equal to TensorFlow's stateless operations on CPUs.

Runs on JAX and PyTorch so read the same batches as runs on TensorFlow, without TensorFlow. The
generator is Philox 4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3").
A seed is a pair of whole numbers of 64 bits, as in `tf.random.stateless_uniform`.
"""

from __future__ import annotations

import numpy as np

Seed = tuple[int, int]

ROUNDS = 10
# The multipliers and key increments of Philox.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
# The key with which TensorFlow turns a seed into a key and a counter.
SCRAMBLE = (0x3EC8F720, 0x02461E29)
WORD, LONG = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def philox(counter: list[np.ndarray], key: tuple[int, int]) -> np.ndarray:
    """The cipher: four words of 32 bits for each counter.

    Args:
        counter: four uint64 arrays of one shape, with the words of the counters.
        key: two words.

    Returns:
        uint64 of the counters' shape and one axis of 4 more; every number is below 2**32.
    """
    a, b, c, d = counter
    low, high = key
    word, half = np.uint64(WORD), np.uint64(32)
    for _ in range(ROUNDS):
        p = a * np.uint64(MULTIPLIERS[0])
        q = c * np.uint64(MULTIPLIERS[1])
        a, b, c, d = (q >> half) ^ b ^ np.uint64(low), q & word, (p >> half) ^ d, p & word
        c = c ^ np.uint64(high)
        low, high = (low + INCREMENTS[0]) & WORD, (high + INCREMENTS[1]) & WORD
    return np.stack([a, b, c, d], axis=-1)


def words(seed: Seed, count: int) -> np.ndarray:
    """`count` words of 32 random bits, uint64."""
    parts = [(number >> shift) & WORD for number in seed for shift in (0, 32)]
    mixed = philox([np.array(p, np.uint64) for p in parts], SCRAMBLE)
    number = np.arange(-(-count // 4), dtype=np.uint64)
    ends = [np.full_like(number, mixed[2]), np.full_like(number, mixed[3])]
    counter = [number & np.uint64(WORD), number >> np.uint64(32), *ends]
    return philox(counter, (int(mixed[0]), int(mixed[1]))).reshape(-1)[:count]


def uniform(seed: Seed, count: int) -> np.ndarray:
    """`count` float32 numbers in [0, 1), as `tf.random.stateless_uniform`.

    >>> [round(float(x), 4) for x in uniform((1, 2), 3)]
    [0.8441, 0.192, 0.9962]
    """
    mantissa = (words(seed, count) & np.uint64(0x7FFFFF)).astype(np.uint32)
    return (mantissa | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)


def whole(seed: Seed) -> int:
    """One whole number of 64 bits with a sign, as `stateless_uniform` of int64 without limits."""
    low, high = words(seed, 2).tolist()
    number = low | high << 32
    return number - (1 << 64) if number >> 63 else number


def fold_in(seed: Seed, number: int) -> Seed:
    """A new seed of a seed and a number, as `tf.random.experimental.stateless_fold_in`."""
    return whole(seed), number


def shuffled(values: np.ndarray, seed: Seed) -> np.ndarray:
    """The values in random order, as `tf.random.experimental.stateless_shuffle`.

    >>> shuffled(np.arange(6), (1, 2)).tolist()
    [4, 5, 0, 3, 1, 2]
    """
    size = len(values)
    if size < 2:
        return values.copy()
    # Fisher and Yates' shuffle: place i changes with a place from i on.
    left = np.arange(size, 1, -1, dtype=np.uint64)
    others = (np.arange(size - 1) + (words(seed, size - 1) % left).astype(np.int64)).tolist()
    order = list(range(size))
    for i, j in enumerate(others):
        order[i], order[j] = order[j], order[i]
    return np.asarray(values)[order]
