"""Which example comes when: the order of a run as a function of its seed, with no state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfshed.datasets.reading_plan import AUGMENT, SHUFFLE, ReadingPlan


def epochs_left(plan: ReadingPlan, one: Callable[[Any, Any], tf.data.Dataset]) -> tf.data.Dataset:
    """`one(epoch, batches to leave out)` for each epoch from `start_step` on, in one graph."""
    first, done = divmod(plan.start_step, plan.steps)

    def epoch(number: Any) -> tf.data.Dataset:
        return one(number, tf.where(number == first, tf.constant(done, tf.int64), 0))

    return tf.data.Dataset.range(first, plan.epochs).flat_map(epoch)


def complete(plan: ReadingPlan, batches: tf.data.Dataset) -> tf.data.Dataset:
    """The data set, with the number of its batches known and checked; a few are prepared before
    they are needed."""
    batches = batches.apply(tf.data.experimental.assert_cardinality(plan.left))
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

    return epochs_left(plan, epoch)


def positions(plan: ReadingPlan, step: Any) -> tf.Tensor:
    """Where the local examples of a batch stand in their epoch, over all workers."""
    start = step * plan.batch + plan.shard[0] * plan.local
    return start + tf.range(plan.local, dtype=tf.int64)
