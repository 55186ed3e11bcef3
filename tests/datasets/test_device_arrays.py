"""Data in memory without TensorFlow: the batches are those that TensorFlow's pipeline makes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tfshed.core.backend import to_numpy
from tfshed.datasets import device_augment, stateless_random
from tfshed.datasets.device_arrays import DeviceArrays
from tfshed.datasets.reading_plan import ReadingPlan
from tfshed.datasets.tf_data import augment
from tfshed.datasets.tf_data.arrays import TensorFlowArrays

pytestmark = pytest.mark.backend

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (25, 6, 7, 3), np.uint8)
LABELS = (np.arange(25) % 4).astype("int32")
SEEDS = ((0, 0), (1, 2), (-3, 5), (2**63 - 1, -(2**63)), (12345678901234, 7))


def arrays(kind, size=(6, 7)):
    return kind(IMAGES, LABELS, size)


def plan(augmentation="none", **changes):
    given = {
        "seed": 3,
        "epochs": 3,
        "start_step": 2,
        "steps": 4,
        "batch": 6,
        "shard": (0, 1),
        "fraction": 1.0,
    }
    return ReadingPlan(augmentation=augmentation, **{**given, **changes})


def numpy_of(batches):
    return [tuple(np.asarray(to_numpy(part)) for part in batch) for batch in batches]


def same(some, others):
    assert len(some) == len(others) > 0
    for (x, y), (x2, y2) in zip(some, others):
        assert x.dtype == np.uint8 and y.dtype == np.int32
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_numbers_are_those_of_tensorflow(seed):
    key = tf.constant(seed, tf.int64)
    for count in (1, 4, 9):
        expected = tf.random.stateless_uniform([count], key).numpy()
        np.testing.assert_array_equal(stateless_random.uniform(seed, count), expected)
        values = np.arange(count) * 3
        expected = tf.random.experimental.stateless_shuffle(tf.constant(values), key).numpy()
        np.testing.assert_array_equal(stateless_random.shuffled(values, seed), expected)
    folded = tf.random.experimental.stateless_fold_in(key, tf.constant(11, tf.int64)).numpy()
    assert stateless_random.fold_in(seed, 11) == tuple(folded.tolist())


@pytest.mark.parametrize("augmentation", ["none", "flip", "pad_crop_flip"])
def test_batches_are_those_of_tensorflow(augmentation):
    given = plan(augmentation)
    found = numpy_of(arrays(DeviceArrays).train(given))
    assert len(found) == given.left == 10
    same(found, numpy_of(arrays(TensorFlowArrays).train(given)))


def test_fractions_and_workers_have_the_batches_of_tensorflow():
    for changes in ({"fraction": 0.5, "steps": 2}, {"shard": (1, 3)}):
        given = plan("pad_crop_flip", **changes)
        same(
            numpy_of(arrays(DeviceArrays).train(given)),
            numpy_of(arrays(TensorFlowArrays).train(given)),
        )


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_evaluation_has_every_example_once(fraction):
    found = numpy_of(arrays(DeviceArrays).evaluation(10, (0, 1), fraction))
    assert [len(y) for _, y in found] == ([10, 10, 5] if fraction == 1 else [10, 2])
    same(found, numpy_of(arrays(TensorFlowArrays).evaluation(10, (0, 1), fraction)))


def test_batches_go_on_where_they_were_left():
    whole = numpy_of(arrays(DeviceArrays).train(plan("crop_flip")))
    again = arrays(DeviceArrays).train(plan("crop_flip", start_step=5))
    same(numpy_of(again), whole[3:])
    batches = arrays(DeviceArrays).train(plan("crop_flip"))
    assert len(batches.take(4)) == 4 and len(batches.skip(4)) == len(batches) - 4
    same(numpy_of(batches.take(4)), whole[:4])
    same(numpy_of(batches.skip(4)), whole[4:])
    with pytest.raises(IndexError, match="from 0 to 9"):
        batches[10]


def test_windows_lie_in_the_image_and_vary():
    windows = device_augment.crop_windows(20, 30, [(5, i) for i in range(300)])
    top, left, tall, wide = windows.T
    assert (top >= 0).all() and (left >= 0).all() and (tall >= 1).all() and (wide >= 1).all()
    assert (top + tall <= 20).all() and (left + wide <= 30).all()
    area, ratio = tall * wide / 600, wide / tall
    # Rounding to whole pixels takes them a little outside.
    assert area.min() > 0.06 and 0.3 < area.mean() < 0.6
    inside = (ratio > 0.6) & (ratio < 1.6)
    assert (inside | ((tall == 20) & (wide == 30))).all()
    assert len(np.unique(windows, axis=0)) > 200


def test_windows_are_resized_as_tensorflow_does():
    windows = np.array([[0, 0, 6, 7], [1, 2, 4, 3], [5, 6, 1, 1]], np.int32)
    top, left, tall, wide = windows.T.astype("float32")
    boxes = np.stack([top / 5, left / 6, (top + tall - 1) / 5, (left + wide - 1) / 6], 1)
    images = IMAGES[:3]
    for size in ((4, 5), (6, 7), (9, 1)):
        expected = tf.image.crop_and_resize(images, boxes, [0, 1, 2], size)
        found = to_numpy(
            device_augment.crop_resize(ops.convert_to_tensor(images), windows, size)
        ).astype("int32")
        assert found.shape == (3, *size, 3)
        assert np.abs(found - augment.to_uint8(expected).numpy()).max() <= 1


def test_images_are_resized_as_tensorflow_does():
    found = numpy_of(arrays(DeviceArrays, (3, 9)).evaluation(25, (0, 1), 1.0))
    expected = numpy_of(arrays(TensorFlowArrays, (3, 9)).evaluation(25, (0, 1), 1.0))
    difference = np.abs(found[0][0].astype("int32") - expected[0][0].astype("int32"))
    assert difference.max() <= 1


def test_keras_trains_and_evaluates_on_them():
    net = keras.Sequential([keras.Input((6, 7, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = arrays(DeviceArrays)
    batches = data.train(plan("pad_crop_flip", start_step=0))
    assert [tuple(spec.shape) for spec in batches.element_spec] == [(6, 6, 7, 3), (6,)]
    history = net.fit(
        batches,
        epochs=3,
        steps_per_epoch=4,
        shuffle=False,
        verbose=0,
        validation_data=data.evaluation(10, (0, 1), 1.0),
    )
    assert len(history.history["val_loss"]) == 3
    assert int(net.optimizer.iterations) == 12
