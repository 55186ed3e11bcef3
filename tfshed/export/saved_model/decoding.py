"""Reads back what `coding` wrote, by standard operations of TensorFlow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tfshed.export.saved_model.coding import Coded

# The most axes that an array may have.
AXES = 8


class Layout(NamedTuple):
    """What two arrays must have in common to be decoded by the same operations.

    The fields are those of `Coded`, with the number of steps and the dtype of the array.
    """

    kind: str
    item: int
    gap: int
    steps: int
    dtype: str

    @property
    def streams(self) -> int:
        """How many streams there are."""
        of_values = self.item if self.kind == "planes" else 2 + self.item // 2
        return of_values + bool(self.gap)


def describe(coded: Coded, array: np.ndarray, offset: int) -> tuple[Layout, tuple[int, ...]]:
    """Returns the arguments with which `decode` reads an array back.

    `coded` is what `array` was coded as; its streams begin at `offset` in the file.

    The numbers are: values, exponents in a byte, how many axes the array has, its shape and what
    is free up to `AXES`, three for every `Step`, and the offset and length of every stream.
    """
    form = Layout(coded.kind, coded.item, coded.gap, len(coded.steps), array.dtype.name)
    row = [coded.values, coded.digits, array.ndim, *array.shape, *[0] * (AXES - array.ndim)]
    for step in coded.steps:
        row += [step.inner, step.size, step.full]
    for stream in coded.streams:
        row += [offset, len(stream)]
        offset += len(stream)
    return form, tuple(row)


def decode(form: Layout, row: Any, data: Any) -> Any:
    """Returns the array in `data`, a scalar string tensor, that `describe` described."""
    import tensorflow as tf

    fixed = 3 + AXES
    numbers = tf.unstack(row, fixed + 3 * form.steps + 2 * form.streams)
    values, digits, axes = numbers[:3]
    # Arrays with few axes and with many are decoded alike: how many is known then only.
    shape = row[3 : 3 + axes]
    blocks = numbers[fixed : fixed + 3 * form.steps]
    where = iter(numbers[fixed + 3 * form.steps :])

    def stream(dtype: Any) -> Any:
        packed = tf.strings.substr(data, next(where), next(where))
        return tf.io.decode_raw(tf.io.decode_compressed(packed, "ZLIB"), dtype)

    if form.gap:
        gaps = stream({1: tf.uint8, 2: tf.uint16, 4: tf.int32}[form.gap])
        elements = _elements(gaps, blocks)
    bits = _floats(form, values, digits, stream) if form.kind == "split" else _planes(form, stream)
    bits = tf.reshape(bits, [values])
    if form.gap:
        # As integers: adding or copying floats may flush denormals. Unordered where blocks are.
        bits = tf.raw_ops.SparseToDense(
            sparse_indices=elements,
            output_shape=[tf.cast(tf.reduce_prod(shape), tf.int32)],
            sparse_values=bits,
            default_value=tf.zeros([], bits.dtype),
            validate_indices=False,
        )
    array = tf.cast(bits, tf.bool) if form.dtype == "bool" else tf.bitcast(bits, form.dtype)
    return tf.reshape(array, shape)


def _elements(gaps: Any, blocks: list[Any]) -> Any:
    import tensorflow as tf

    places = tf.cumsum(tf.cast(gaps, tf.int32) + 1) - 1
    if not blocks:
        return places
    offsets = tf.zeros([1], tf.int32)
    for i in range(0, len(blocks), 3):
        inner, block, full = (tf.cast(number, tf.int32) for number in blocks[i : i + 3])
        places += places // inner * ((block - 1) * inner)
        offsets = tf.reshape(offsets[:, None] + tf.range(block) * full, [-1])
    return tf.reshape(places[:, None] + offsets, [-1])


def _planes(form: Layout, stream: Any) -> Any:
    import tensorflow as tf

    if form.item == 1:
        return stream(tf.int8)
    planes = [stream(tf.uint8) for _ in range(form.item)]
    whole = {2: tf.int16, 4: tf.int32, 8: tf.int64}[form.item]
    return tf.bitcast(tf.stack(planes, axis=-1), whole)


def _floats(form: Layout, values: Any, digits: Any, stream: Any) -> Any:
    import tensorflow as tf

    exponents = tf.cast(stream(tf.uint8), tf.int32)
    kinds = tf.size(exponents)
    codes = tf.cast(stream(tf.uint8), tf.int32)
    # All digits of all numbers that a byte can be: a look-up gives several exponents at once.
    powers = tf.math.cumprod(tf.fill([digits], kinds), exclusive=True)
    table = tf.gather(exponents, tf.range(256)[:, None] // powers % kinds)
    bits = tf.reshape(tf.gather(tf.bitwise.left_shift(table, 23), codes), [-1])[:values]
    # As int8 the sign fills all upper bits; those of the exponent are then taken away again.
    upper = tf.bitwise.left_shift(tf.cast(stream(tf.int8), tf.int32), 16)
    bits = tf.bitwise.bitwise_or(bits, tf.bitwise.bitwise_and(upper, -0x7F800001))
    if form.item == 4:
        bits = tf.bitwise.bitwise_or(bits, tf.cast(stream(tf.uint16), tf.int32))
    return bits
