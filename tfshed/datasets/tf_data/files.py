"""Image files, one for each example, which are read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfshed.datasets import fingerprint
from tfshed.datasets.reading_plan import ReadingPlan, part, share, subset
from tfshed.datasets.tf_data import example_order
from tfshed.datasets.tf_data.decoding import Decoder, readable


class FileSource:
    """The image files of one split.

    Args:
        paths: The paths of the files.
        labels: int32 of shape (files,).
        decoder: Decodes the files to images.
    """

    def __init__(self, paths: Sequence[str], labels: np.ndarray, decoder: Decoder):
        self.examples = len(paths)
        self._paths, self._labels, self._decoder = list(paths), labels, decoder

    def count(self, fraction: float) -> int:
        return share(self.examples, fraction)

    def train(self, plan: ReadingPlan) -> tf.data.Dataset:
        paths, labels = tf.constant(self._paths), tf.constant(self._labels, tf.int32)

        def numbered(key: Any, step: Any, ids: Any) -> tf.data.Dataset:
            where = example_order.positions(plan, step)
            return tf.data.Dataset.from_tensor_slices((tf.fill([plan.local], key), where, ids))

        def example(key: Any, position: Any, number: Any) -> tuple[tf.Tensor, tf.Tensor]:
            encoded = tf.io.read_file(paths[number])
            seed = tf.stack([key, position])
            return self._decoder.train(encoded, plan.augmentation, seed), labels[number]

        with tf.device("CPU:0"):
            steps = example_order.shuffled_batches(plan, subset(self._labels, plan.fraction))
            found = steps.flat_map(numbered).map(example, tf.data.AUTOTUNE)
            return example_order.complete(plan, found.batch(plan.local, drop_remainder=True))

    def evaluation(self, batch: int, shard: tuple[int, int], fraction: float) -> tf.data.Dataset:
        ids = subset(self._labels, fraction)
        low, high = part(len(ids), shard)
        chosen = ids[low:high]
        paths = [self._paths[i] for i in chosen]

        def example(path: Any, label: Any) -> tuple[tf.Tensor, tf.Tensor]:
            return self._decoder.view(tf.io.read_file(path)), label

        with tf.device("CPU:0"):
            pairs = (tf.constant(paths, tf.string), tf.constant(self._labels[chosen], tf.int32))
            found = tf.data.Dataset.from_tensor_slices(pairs).map(example, tf.data.AUTOTUNE)
            found = found.batch(batch).prefetch(tf.data.AUTOTUNE)
            return found.with_options(example_order.options())

    def fingerprint(self) -> str:
        return fingerprint.of_files(self._paths, self._labels.tolist())

    def explain(self) -> list[str]:
        """Reads all files, and returns a line for each that cannot be read."""

        def check(number: Any, path: Any) -> Any:
            size = readable(tf.io.read_file(path))
            return tf.where(size > 0, number, -1)

        paths = tf.data.Dataset.from_tensor_slices(tf.constant(self._paths, tf.string))
        good = paths.enumerate().map(check, tf.data.AUTOTUNE).ignore_errors().batch(1024)
        broken = np.ones(self.examples, bool)
        for numbers in good.as_numpy_iterator():
            broken[numbers] = False
        return [
            f"{self._paths[i]}: not an image that can be decoded. Replace or remove the file."
            for i in np.flatnonzero(broken)
        ]
