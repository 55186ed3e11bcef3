"""Which example comes when: the order of a run as a function of its seed, with no state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

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

    def epochs_left(self, one: Callable[[Any, Any], tf.data.Dataset]) -> tf.data.Dataset:
        """`one(epoch, batches to leave out)` for each epoch from `start_step` on, in one graph."""
        first, done = divmod(self.start_step, self.steps)

        def epoch(number: Any) -> tf.data.Dataset:
            return one(number, tf.where(number == first, tf.constant(done, tf.int64), 0))

        return tf.data.Dataset.range(first, self.epochs).flat_map(epoch)

    def complete(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """The data set, with the number of its batches known and checked; a few are prepared before
        they are needed."""
        left = self.epochs * self.steps - self.start_step
        batches = batches.apply(tf.data.experimental.assert_cardinality(left))
        return batches.prefetch(tf.data.AUTOTUNE).with_options(options())


def options() -> tf.data.Options:
    """Fixed order whatever runs in parallel; no sharding by TensorFlow on top of ours."""
    made = tf.data.Options()
    made.deterministic = True
    made.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return made


def epoch_seed(seed: int, epoch: Any, purpose: int) -> tf.Tensor:
    """An int64 seed of shape (2,) for the stateless operations."""
    start = tf.constant([seed, purpose], tf.int64)
    return tf.random.experimental.stateless_fold_in(start, tf.cast(epoch, tf.int64))


def epoch_key(seed: int, epoch: Any) -> tf.Tensor:
    """An int64 scalar; (key, position) is the seed of one augmentation."""
    return tf.random.stateless_uniform(
        [], epoch_seed(seed, epoch, AUGMENT), minval=None, maxval=None, dtype=tf.int64
    )


def shuffled_batches(plan: ReadingPlan, examples: np.ndarray) -> tf.data.Dataset:
    """The batches of a run over examples that can be read in any order.

    Args:
        plan: what to read.
        examples: int64 numbers of the examples that take part.

    Returns:
        A data set of `(key, step in its epoch, numbers of the local examples)`. Together the
        workers have the batches that one worker would have: each takes its slice of every batch.
    """
    ids = tf.constant(examples, tf.int64)
    index = plan.shard[0]

    def epoch(number: Any, done: Any) -> tf.data.Dataset:
        seed = epoch_seed(plan.seed, number, SHUFFLE)
        order = tf.random.experimental.stateless_shuffle(ids, seed)[: plan.steps * plan.batch]
        mine = tf.reshape(order, [plan.steps, plan.shard[1], plan.local])[:, index]
        key = epoch_key(plan.seed, number)
        steps = tf.data.Dataset.range(plan.steps).skip(done)
        return steps.map(lambda step: (key, step, mine[step]))

    return plan.epochs_left(epoch)


def positions(plan: ReadingPlan, step: Any) -> tf.Tensor:
    """Where the local examples of a batch stand in their epoch, over all workers."""
    start = step * plan.batch + plan.shard[0] * plan.local
    return start + tf.range(plan.local, dtype=tf.int64)


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
