"""Data held in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfshed.datasets import augment, example_order, fingerprint
from tfshed.datasets.image_data import Source

# Data decoded to no more than this are held in memory, bytes.
IN_MEMORY = 1 << 30


def read_all(source: Source, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """All images (uint8) and labels (int32) of a source that gives out images of this shape.

    Raises:
        ValueError: something cannot be read; says what.
    """
    images = np.empty((source.examples, *shape), np.uint8)
    labels = np.empty(source.examples, np.int32)
    start = 0
    try:
        for some, theirs in source.evaluation(512, (0, 1), 1.0):
            images[start : start + len(some)] = some
            labels[start : start + len(some)] = theirs
            start += len(some)
    except tf.errors.OpError as error:
        raise ValueError("\n".join(source.explain()) or str(error)) from error
    return images, labels


class ArraySource:
    """Images and labels of one split as arrays.

    Args:
        examples: number of them.
        read: returns (images uint8 (n, h, w, c), labels int32 (n,)); called once, when needed.
        shape: (height, width, channels) of the images given out.
    """

    def __init__(
        self,
        examples: int,
        read: Callable[[], tuple[np.ndarray, np.ndarray]],
        shape: tuple[int, int, int],
    ):
        self.examples = examples
        self._read: Callable[[], tuple[np.ndarray, np.ndarray]] | None = read
        self._size = shape[:2]
        self._held: tuple[tf.Tensor, tf.Tensor, np.ndarray] | None = None

    def count(self, fraction: float) -> int:
        return example_order.share(self.examples, fraction)

    def fingerprint(self) -> str:
        images, _, labels = self._arrays()
        return fingerprint.of_arrays([images.numpy(), labels])

    def explain(self) -> list[str]:
        # Arrays were looked at when they were read.
        return []

    def _arrays(self) -> tuple[tf.Tensor, tf.Tensor, np.ndarray]:
        if self._held is None:
            assert self._read is not None
            images, labels = self._read()
            # It may hold the arrays, which are copied here.
            self._read = None
            # Where the input pipeline runs; on an accelerator they would be copied back.
            with tf.device("CPU:0"):
                self._held = (tf.constant(images), tf.constant(labels, tf.int32), labels)
        return self._held

    def train(self, plan: example_order.ReadingPlan) -> tf.data.Dataset:
        images, labels, plain = self._arrays()

        def batch(key: Any, step: Any, ids: Any) -> tuple[tf.Tensor, tf.Tensor]:
            found = tf.ensure_shape(tf.gather(images, ids), [plan.local, *images.shape[1:]])
            return self._augment(found, plan, key, step), tf.gather(labels, ids)

        with tf.device("CPU:0"):
            steps = example_order.shuffled_batches(plan, example_order.subset(plain, plan.fraction))
            return plan.complete(steps.map(batch, tf.data.AUTOTUNE))

    def _augment(
        self, images: tf.Tensor, plan: example_order.ReadingPlan, key: Any, step: Any
    ) -> tf.Tensor:
        if plan.augmentation == "crop_flip":
            where = example_order.positions(plan, step)
            seeds = tf.stack([tf.fill([plan.local], key), where], axis=1)
            images = augment.crop_resize(images, seeds, self._size)
        else:
            images = augment.resize(images, self._size)
        if plan.augmentation == "none":
            return images
        # Drawn for the batch of all workers, so that an image's do not depend on their number.
        first = plan.shard[0] * plan.local
        # A seed apart from the crops': of the same, the same numbers would come again.
        draws = tf.random.stateless_uniform([plan.batch, 3], tf.stack([key + 1, step]))
        draws = draws[first : first + plan.local]
        if plan.augmentation == "pad_crop_flip":
            return augment.pad_crop_flip(images, draws)
        return augment.flip(images, draws[:, 2])

    def evaluation(self, batch: int, shard: tuple[int, int], fraction: float) -> tf.data.Dataset:
        images, labels, plain = self._arrays()
        ids = example_order.subset(plain, fraction)
        low, high = example_order.part(len(ids), shard)

        def view(ids: Any) -> tuple[tf.Tensor, tf.Tensor]:
            return augment.resize(tf.gather(images, ids), self._size), tf.gather(labels, ids)

        with tf.device("CPU:0"):
            found = tf.data.Dataset.from_tensor_slices(ids[low:high]).batch(batch)
            found = found.map(view, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
            return found.with_options(example_order.options())
