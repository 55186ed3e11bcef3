"""Data held in memory, as data sets of TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfshed.datasets.image_data import Source
from tfshed.datasets.reading_plan import ReadingPlan, part, subset
from tfshed.datasets.tf_data import augment, example_order


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


class TensorFlowArrays:
    """Images and labels as tensors on the CPU, where the input pipeline runs.

    Args:
        images: uint8 of shape (n, height, width, channels).
        labels: int32 of shape (n,).
        size: height and width of the images given out.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, size: tuple[int, int]):
        self._size, self._numbers = size, labels
        # On an accelerator they would be copied back.
        with tf.device("CPU:0"):
            self._images, self._labels = tf.constant(images), tf.constant(labels, tf.int32)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The images and labels."""
        return self._images.numpy(), self._numbers

    def train(self, plan: ReadingPlan) -> tf.data.Dataset:
        """The batches of a run that are left."""
        images, labels = self._images, self._labels

        def batch(key: Any, step: Any, ids: Any) -> tuple[tf.Tensor, tf.Tensor]:
            found = tf.ensure_shape(tf.gather(images, ids), [plan.local, *images.shape[1:]])
            return self._augment(found, plan, key, step), tf.gather(labels, ids)

        with tf.device("CPU:0"):
            chosen = subset(self._numbers, plan.fraction)
            steps = example_order.shuffled_batches(plan, chosen)
            return example_order.complete(plan, steps.map(batch, tf.data.AUTOTUNE))

    def _augment(self, images: tf.Tensor, plan: ReadingPlan, key: Any, step: Any) -> tf.Tensor:
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
        """This worker's examples, each once and in order."""
        ids = subset(self._numbers, fraction)
        low, high = part(len(ids), shard)

        def view(ids: Any) -> tuple[tf.Tensor, tf.Tensor]:
            images = augment.resize(tf.gather(self._images, ids), self._size)
            return images, tf.gather(self._labels, ids)

        with tf.device("CPU:0"):
            found = tf.data.Dataset.from_tensor_slices(ids[low:high]).batch(batch)
            found = found.map(view, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
            return found.with_options(example_order.options())
