"""Arrays come back from their code with every bit, whatever is in them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfshed.export.saved_model.coding import compress, encode
from tfshed.export.saved_model.decoding import decode, describe


def there_and_back(array, **options):
    coded = encode(array, **options)
    form, row = describe(coded, array, offset=3)
    data = tf.constant(b"abc" + b"".join(coded.streams) + b"def")
    return coded, decode(form, tf.constant(row, tf.int64), data).numpy()


def positive_zeros(array):
    bits = array.reshape(-1).view(f"u{array.dtype.itemsize}").copy()
    if array.dtype.kind == "f":
        bits[bits << bits.dtype.type(1) == 0] = 0
    return bits


DTYPES = ["float32", "float16", "float64", "int8", "uint8", "int32", "int64", "uint32", "bool"]


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=9))
    ),
    st.floats(0, 1),
    st.integers(0, 99),
    st.sampled_from([None, 0, 1, 2]),
)
@settings(max_examples=60, deadline=None)
def test_every_bit_comes_back(array, density, seed, idle_steps):
    kept = np.random.default_rng(seed).random(array.shape) < density
    array = np.where(kept, array, array.dtype.type(0))
    coded, received = there_and_back(array, idle_steps=idle_steps)
    assert coded.gap or idle_steps is None
    assert (received.dtype, received.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(positive_zeros(received), positive_zeros(array))


@pytest.mark.parametrize("density", [0, 1e-5, 1e-3, 0.02, 0.2, 0.6, 0.99, 1])
def test_distances_of_all_lengths(density):
    random = np.random.default_rng(0)
    array = random.standard_normal(200_000).astype("float32")
    array *= random.random(array.size) < density
    coded, received = there_and_back(array)
    np.testing.assert_array_equal(received, array)
    share = np.count_nonzero(array) / array.size
    mask = -sum(p * np.log2(p) for p in (share, 1 - share) if p) * array.size / 8
    # Sign and mantissa, three bytes; an exponent of three bits.
    assert sum(map(len, coded.streams)) <= 3.45 * np.count_nonzero(array) + 1.1 * mask + 400


@pytest.mark.parametrize(
    "blocks", [(1, 1, 4, 1), (1, 1, 8, 1), (1, 1, 1, 2), (1, 1, 4, 4), (3, 1, 1, 1), (1, 1, 6, 1)]
)
def test_blocks_are_found(blocks):
    random = np.random.default_rng(0)
    shape = (3, 3, 48, 32)
    mask = random.random([n // b for n, b in zip(shape, blocks, strict=True)]) < 0.2
    array = (np.kron(mask, np.ones(blocks)) * random.standard_normal(shape)).astype("float32")
    coded, received = there_and_back(array)
    np.testing.assert_array_equal(received, array)
    assert sorted(s.size for s in coded.steps) == sorted(b for b in blocks if b > 1)
    assert coded.values == np.count_nonzero(array)


@pytest.mark.parametrize("idle_steps", [0, 1, 2])
def test_a_full_array_is_read_back_like_sparse_ones(idle_steps):
    array = np.random.default_rng(0).standard_normal((40, 250)).astype("float32")
    coded, received = there_and_back(array, idle_steps=idle_steps)
    np.testing.assert_array_equal(received, array)
    assert (coded.gap, len(coded.steps), coded.values) == (1, idle_steps, array.size)
    size = sum(map(len, coded.streams))
    assert size < sum(map(len, encode(array).streams)) + 60  # distances are nothing but zeros


def test_single_weights_are_not_taken_for_blocks():
    random = np.random.default_rng(0)
    for density in (0.01, 0.2, 0.5, 0.95):
        array = (random.random((64, 64)) < density).astype("float32")
        assert encode(array).steps == ()


def test_one_byte_of_the_mantissa_is_a_bfloat16():
    array = np.random.default_rng(0).standard_normal(5000).astype("float32")
    short = (array.view("uint32") & 0xFFFF0000).view("float32")
    coded, received = there_and_back(array, mantissa_bytes=1)
    np.testing.assert_array_equal(received, short)
    assert sum(map(len, coded.streams)) < 1.6 * array.size


def test_random_bytes_are_stored():
    noise = np.frombuffer(np.random.default_rng(0).bytes(10**6), "uint8")
    assert len(compress(noise)) < 1.001 * noise.size
    assert len(compress(noise >> 4)) < 0.51 * noise.size
