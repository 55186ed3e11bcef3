"""What is read in a run of training, and which part of the examples; the same on every backend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What random numbers are drawn for; each purpose has its own of the same seed.
SHUFFLE, AUGMENT = 0, 1


@dataclass(frozen=True)
class ReadingPlan:
    """What one worker reads in a whole run of training.

    Attributes:
        seed: int. epochs: of the run. start_step: the batch of the run to begin with.
        steps: batches in an epoch. batch: examples in a batch of all workers together.
        shard: (index, count) of the worker. augmentation: its name.
        fraction: of the examples that is used.
    """

    seed: int
    epochs: int
    start_step: int
    steps: int
    batch: int
    shard: tuple[int, int]
    augmentation: str
    fraction: float

    @property
    def local(self) -> int:
        """Examples in a batch of this worker."""
        return self.batch // self.shard[1]

    @property
    def left(self) -> int:
        """Batches of the run from `start_step` on."""
        return self.epochs * self.steps - self.start_step


def part(size: int, shard: tuple[int, int]) -> tuple[int, int]:
    """First and last + 1 of a worker's stretch of `size` things.

    >>> [part(10, (i, 3)) for i in range(3)]
    [(0, 3), (3, 6), (6, 10)]
    """
    index, count = shard
    return size * index // count, size * (index + 1) // count


def share(size: int, fraction: float) -> int:
    """How many of `size` examples a fraction is; at least one.

    >>> share(1281167, 0.1), share(5, 0.01), share(0, 0.5)
    (128116, 1, 0)
    """
    # A little more than the product: .29 * 100 is 28.999999999999996.
    return min(size, max(1, int(size * fraction + 1e-6)))


def subset(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Numbers of a part of the examples, the same part of each class to within one example.

    Args:
        labels: ints of shape (examples,).
        fraction: in (0, 1].

    Returns:
        int64, ascending.

    >>> import numpy as np
    >>> subset(np.array([0, 1, 0, 1, 0, 1, 0, 1]), 0.5)
    array([2, 3, 6, 7])
    """
    size = len(labels)
    taken = share(size, fraction)
    by_class = np.argsort(labels, kind="stable")
    evenly = ((np.arange(taken) + 0.5) * size / max(1, taken)).astype(np.int64)
    return np.sort(by_class[evenly]).astype(np.int64)
