"""tfshed.experiments.model_state: all of a model, or an error that changes nothing."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest

from tfshed.experiments.model_state import capture, restore


def compiled(units=3):
    net = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)]
    )
    metrics = [keras.metrics.MeanSquaredError(name="squares")]
    net.compile("adam", "mse", metrics=metrics)
    net.optimizer.build(net.trainable_variables)
    return net, metrics


@pytest.mark.backend
def test_everything_comes_back():
    net, metrics = compiled()
    x, y = np.ones((4, 2), "float32"), np.ones((4, 3), "float32")
    net.fit(x, y, batch_size=2, verbose=0)
    arrays = capture(net, metrics)
    kinds = {name.split("/")[0] for name in arrays}
    assert kinds == {"weights", "optimizer", "metrics", "others"}
    other, found = compiled()
    # Not built by a step yet, so the model does not know its metrics.
    restore(other, arrays, found)
    restore(other, arrays, found, ("metrics",))
    again = capture(other, found)
    assert list(again) == list(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


def test_another_models_arrays_are_refused_and_nothing_changes():
    (net, metrics), (other, found) = compiled(3), compiled(4)
    before = capture(net, metrics)
    with pytest.raises(ValueError, match=r"kernel_momentum\) has shape \(2, 4\), exp"):
        restore(net, capture(other, found), metrics)
    missing = {n: v for n, v in before.items() if n != "weights/0001"}
    with pytest.raises(ValueError, match=r"bias\) is missing"):
        restore(net, missing, metrics)
    with pytest.raises(ValueError, match="weights/9999 is not of this model"):
        restore(net, {**before, "weights/9999": np.zeros(2)}, metrics)
    for name, value in capture(net, metrics).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_every_replica_gets_its_own_metrics_and_statistics_back():
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def make(scope):
        with scope:
            layers = [keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
            net = keras.Sequential([*layers, keras.layers.Dropout(0.5)])
            metrics = [keras.metrics.MeanSquaredError()]
            net.compile("sgd", "mse", metrics=metrics, jit_compile=False)
            net.optimizer.build(net.trainable_variables)
        return net, metrics

    net, metrics = make(strategy.scope())
    x, y = np.arange(8, dtype="float32").reshape(4, 2), np.ones((4, 3), "float32")
    net.fit(x, y, batch_size=4, verbose=0, shuffle=False)
    arrays = capture(net, metrics)
    total, mean = arrays["metrics/0000"], arrays["others/0000"]
    assert total.shape == (2,) and total[0] != total[1]
    assert mean.shape == (2, 2) and (mean[0] != mean[1]).all()
    other, found = make(strategy.scope())
    restore(other, arrays, found)
    restore(other, arrays, found, ("metrics",))
    for name, value in capture(other, found).items():
        np.testing.assert_array_equal(value, arrays[name], err_msg=name)
    # On one device alone: what two of them came to together.
    alone, mine = make(contextlib.nullcontext())
    restore(alone, arrays, mine)
    restore(alone, arrays, mine, ("metrics",))
    together = capture(alone, mine)
    assert together["metrics/0000"][0] == total.sum()
    np.testing.assert_allclose(together["others/0000"][0], mean.mean(axis=0), rtol=1e-6)
