"""Reads back the arrays that `coding` wrote, with standard operations of TensorFlow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tfshed.export.saved_model.coding import Coded

# The most axes that an array may have.
AXES = 8


class Layout(NamedTuple):
    """What decides which operations decode an array: arrays of one layout share them.

    `kind`, `item` and `gap` are those of `Coded`; `steps` is the number of its steps, and `dtype`
    the name of the array's dtype.
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
    """Returns the layout and the row of numbers with which `decode` reads an array back.

    The row holds, in this order: the number of stored values, the number of exponents in a byte,
    the number of axes, the shape filled up with zeros to `AXES` numbers, three numbers for every
    `Step`, and the offset and length of every stream.

    Args:
        coded: What `encode` returned.
        array: The array that was coded.
        offset: The position in the file, in bytes, at which the streams begin.
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
    """Returns a tensor: the array that `describe` described.

    Args:
        form, row: What `describe` returned, the row as an int64 tensor.
        data: A scalar string tensor, the content of the file.
    """
    import tensorflow as tf

    fixed = 3 + AXES
    numbers = tf.unstack(row, fixed + 3 * form.steps + 2 * form.streams)
    values, digits, axes = numbers[:3]
    # The number of axes is part of the row and not of the layout, so that kernels and biases can
    # share operations.
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
        # The values are handled as integers, since an operation on floats may flush denormals. The
        # indices are not checked for order, as those of blocks are not in order.
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

    # A gap is the number of places left out, so each kept place is gap + 1 after the one before.
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
    # A table of the digits of all 256 bytes: one look-up gives all exponents that share a byte.
    powers = tf.math.cumprod(tf.fill([digits], kinds), exclusive=True)
    table = tf.gather(exponents, tf.range(256)[:, None] // powers % kinds)
    bits = tf.reshape(tf.gather(tf.bitwise.left_shift(table, 23), codes), [-1])[:values]
    # Cast from int8, the sign bit fills all upper bits; the mask clears those of the exponent.
    upper = tf.bitwise.left_shift(tf.cast(stream(tf.int8), tf.int32), 16)
    bits = tf.bitwise.bitwise_or(bits, tf.bitwise.bitwise_and(upper, -0x7F800001))
    if form.item == 4:
        bits = tf.bitwise.bitwise_or(bits, tf.cast(stream(tf.uint16), tf.int32))
    return bits
