"""Encoded images in TFRecord files, which are read as a stream."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfshed.datasets import fingerprint
from tfshed.datasets.reading_plan import SHUFFLE, ReadingPlan, part, share
from tfshed.datasets.tf_data import example_order
from tfshed.datasets.tf_data.decoding import Decoder, readable

# The number of files that are read side by side, of records that are taken from each by turns, and
# of records in the shuffle buffer (less than 1 GB of ImageNet). They are fixed, since the order of
# examples depends on them.
CYCLE, BLOCK, BUFFER = 16, 16, 8192
# The largest number of defects that `explain` reports.
NAMED = 5

Parse = Callable[[Any], tuple[Any, Any]]


class RecordSource:
    """The TFRecord files of one split.

    Each epoch has the files in another order. All records in this order are divided among the
    workers: each gets a contiguous part, which consists of whole files except for its two ends. A
    worker reads 16 files side by side and shuffles in a buffer of 8192 records.

    Args:
        files: The paths of the files, and the number of records in each.
        parse: A function of a record that returns (encoded image, label from 0).
        classes: The number of classes.
        decoder: Decodes the images.
        repair: A sentence that says what to do about a damaged file.
    """

    def __init__(
        self,
        files: Sequence[tuple[str, int]],
        parse: Parse,
        classes: int,
        decoder: Decoder,
        repair: str,
    ):
        self._files = [path for path, _ in files]
        self._lengths = np.array([length for _, length in files], np.int64)
        self.examples = int(self._lengths.sum())
        self._parse, self._classes, self._decoder = parse, classes, decoder
        self._repair = repair

    def _taken(self, fraction: float) -> np.ndarray:
        """For a fraction of the examples, the number of records from the start of each file."""
        ends = np.cumsum(self._lengths)
        upto = [share(int(end), fraction) for end in ends]
        # A share is at least one, and so could be more of a file than it holds.
        return np.minimum(np.diff(upto, prepend=0), self._lengths)

    def count(self, fraction: float) -> int:
        return int(self._taken(fraction).sum())

    def train(self, plan: ReadingPlan) -> tf.data.Dataset:
        lengths = self._taken(plan.fraction)
        low, high = part(int(lengths.sum()), plan.shard)

        def epoch(number: Any, done: Any) -> tf.data.Dataset:
            # The seed of this graph, not of the process: `shuffle` mixes it into its own. 0 would
            # have it compare tensors.
            tf.random.set_seed(1)
            seed = example_order.epoch_seed(plan.seed, number, SHUFFLE)
            files = tf.random.experimental.stateless_shuffle(
                tf.range(len(self._files), dtype=tf.int64), seed
            )
            records = self._stretches(files, lengths, low, high).interleave(
                self._read, cycle_length=CYCLE, block_length=BLOCK, num_parallel_calls=CYCLE
            )
            draw = tf.random.stateless_uniform([], seed, minval=1, maxval=2**31 - 1, dtype=tf.int64)
            size = max(1, min(BUFFER, high - low))
            records = records.shuffle(size, seed=draw, reshuffle_each_iteration=False)
            # Batches that are left out are skipped before anything is decoded.
            records = records.take(plan.steps * plan.local).skip(done * plan.local)
            key = example_order.epoch_key(plan.seed, number)
            return records.map(lambda number, record: (key, number, record))

        def example(key: Any, number: Any, record: Any) -> tuple[tf.Tensor, tf.Tensor]:
            encoded, label = self._parse(record)
            seed = tf.stack([key, number])
            image = self._decoder.train(encoded, plan.augmentation, seed)
            return image, self._checked(label, number)

        with tf.device("CPU:0"):
            found = example_order.epochs_left(plan, epoch).map(example, tf.data.AUTOTUNE)
            return example_order.complete(plan, found.batch(plan.local, drop_remainder=True))

    def evaluation(self, batch: int, shard: tuple[int, int], fraction: float) -> tf.data.Dataset:
        lengths = self._taken(fraction)
        low, high = part(int(lengths.sum()), shard)

        def example(number: Any, record: Any) -> tuple[tf.Tensor, tf.Tensor]:
            encoded, label = self._parse(record)
            return self._decoder.view(encoded), self._checked(label, number)

        with tf.device("CPU:0"):
            files = tf.range(len(self._files), dtype=tf.int64)
            records = self._stretches(files, lengths, low, high).flat_map(self._read)
            found = records.map(example, tf.data.AUTOTUNE).batch(batch)
            return found.prefetch(tf.data.AUTOTUNE).with_options(example_order.options())

    def _stretches(self, files: Any, lengths: np.ndarray, low: int, high: int) -> tf.data.Dataset:
        """Where records `low` to `high` of the files, put in line in this order, are to be found.

        Returns:
            A data set of (path, records to skip, records to take, number of the first one taken).
        """
        taken = tf.gather(tf.constant(lengths), files)
        starts = tf.cumsum(taken, exclusive=True)
        skip = tf.clip_by_value(low - starts, 0, taken)
        take = tf.clip_by_value(high - starts, 0, taken) - skip
        numbers = tf.constant(np.cumsum(self._lengths) - self._lengths)
        first = tf.gather(numbers, files) + skip
        used = take > 0
        parts = (tf.gather(tf.constant(self._files, tf.string), files), skip, take, first)
        return tf.data.Dataset.from_tensor_slices(
            tuple(tf.boolean_mask(values, used) for values in parts)
        )

    @staticmethod
    def _read(path: Any, skip: Any, take: Any, first: Any) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(path, buffer_size=1 << 20).skip(skip).take(take)
        # If a file has too few records, this raises an error; the epoch must not become shorter.
        records = records.apply(tf.data.experimental.assert_cardinality(take))
        return tf.data.Dataset.zip(tf.data.Dataset.range(first, first + take), records)

    def _checked(self, label: Any, number: Any) -> tf.Tensor:
        label = tf.cast(label, tf.int64)
        known = (label >= 0) & (label < self._classes)
        words = [f"expected a label from 0 to {self._classes - 1}, received", label, "in record"]
        with tf.control_dependencies([tf.debugging.Assert(known, [*words, number])]):
            return tf.cast(label, tf.int32)

    def fingerprint(self) -> str:
        return fingerprint.of_files(self._files, self._lengths.tolist())

    def explain(self) -> list[str]:
        """Reads the records until five defects are found, and returns a line for each."""
        found = (f"{line}. {self._repair}" for line in self._bad())
        return list(itertools.islice(found, NAMED))

    def _bad(self) -> Any:
        def check(record: Any) -> tuple[Any, Any]:
            encoded, label = self._parse(record)
            return tf.cast(label, tf.int64), readable(encoded)

        for path, length in zip(self._files, self._lengths.tolist()):
            # The plain data set first: after a broken record nothing more comes of a file.
            records = iter(
                tf.data.TFRecordDataset(path).map(check, tf.data.AUTOTUNE, deterministic=True)
            )
            for number in itertools.count():
                try:
                    label, _ = next(records)
                except StopIteration:
                    if number != length:
                        yield f"{path}: expected {length} records, found {number}"
                    break
                except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
                    yield f"{path}: cannot be read from record {number} on ({reason(error)})"
                    break
                except tf.errors.InvalidArgumentError as error:
                    yield f"{path}, record {number}: {reason(error)}"
                    continue
                if not 0 <= int(label) < self._classes:
                    yield (
                        f"{path}, record {number}: expected a label from 0 to "
                        f"{self._classes - 1}, received {int(label)}"
                    )


def reason(error: Exception) -> str:
    """Returns TensorFlow's error message without the operations that it passed through.

    >>> reason(
    ...     ValueError(
    ...         "{{function_node f}} Error in user-defined function passed to Map "
    ...         "transformation with iterator: Iterator::Root::Map: Invalid JPEG. [Op:GetNext]"
    ...     )
    ... )
    'Invalid JPEG'
    """
    text = str(getattr(error, "message", error)).strip().splitlines()[0]
    text = text.split("}} ", 1)[-1].split(" [Op:")[0]
    return re.sub(r"^Error in user-defined function .*? iterator: \S+ ", "", text).rstrip(".")
