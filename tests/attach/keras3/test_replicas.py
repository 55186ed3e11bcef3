"""Two replicas prune alike: masks and weights are the same on both, and sparse."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest

import tfshed
from tests.nets import BACKEND, data, group, net, schedule
from tfshed.attach.keras3.wrapping import ensure_pruning

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute")


def strategy():
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def replicas(variable):
    values = variable.value.values
    assert len(values) == 2
    return [v.numpy() for v in values]


def run(optimizer, steps=8, **options):
    x, y = data(64)
    with strategy().scope():
        model = tfshed.prune_low_magnitude(net(), schedule(), scope="global", **options)
        model.compile(optimizer(), "mse", jit_compile=False)
    model.fit(
        *(x, y),
        batch_size=64,
        epochs=steps,
        shuffle=False,
        verbose=0,
        callbacks=[tfshed.UpdatePruningStep()],
    )
    return model


def check(model):
    masks = [replicas(m) for m in group(model).masks]
    weights = [replicas(k.variable) for k in group(model).kernels]
    for (m0, m1), (w0, w1) in zip(masks, weights):
        np.testing.assert_array_equal(m0, m1)
        np.testing.assert_array_equal(w0, w1)
        np.testing.assert_array_equal(w0 != 0, m0)
    return sum(m.sum() for m, _ in masks)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.0},
        {"criterion": "random", "threshold": 0.0},
        {"criterion": "taylor", "threshold": 0.0},
        {"criterion": "movement", "threshold": 0.0},
    ],
)
def test_replicas_agree(options):
    model = run(lambda: keras.optimizers.SGD(0.05, momentum=0.9), **options)
    assert check(model) == 18


def test_replicas_agree_while_shedding():
    model = run(lambda: keras.optimizers.SGD(0.01, momentum=0.9), threshold=0.02, collapse_guard=0)
    assert 0 < check(model) <= 18


def test_replicas_agree_in_mixed_precision():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    model = run(lambda: keras.optimizers.SGD(1e-3, momentum=0.9), steps=10, threshold=0.0)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert check(model) == 18


def test_two_replicas_prune_what_one_does():
    kept = []
    for two in (True, False):
        keras.utils.set_random_seed(0)
        x, y = data(64)
        scope = strategy().scope() if two else contextlib.nullcontext()
        with scope:
            model = tfshed.prune_low_magnitude(
                net(), schedule(), scope="global", criterion="random", threshold=0.0
            )
            model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=False)
            ensure_pruning(model)
        for _ in range(7):
            model.fit(x, y, batch_size=64, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
        kept.append([np.asarray(w) != 0 for w in model.get_weights() if w.ndim == 2])
    for a, b in zip(*kept):
        np.testing.assert_array_equal(a, b)
