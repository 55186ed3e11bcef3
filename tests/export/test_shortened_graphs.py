"""Shortened graphs of packed SavedModels: custom gradients stay, and no bit of an output moves."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfshed import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="holds on TensorFlow only"
)
layers = keras.layers


def stack(*parts, inputs=32):
    return keras.Sequential([keras.Input((inputs,), name="x"), *parts])


@tf.custom_gradient
def seven_times(x):
    scale = tf.constant(7.0)
    return x * 2.0, lambda upstream: upstream * scale + 0.0 * x


@tf.custom_gradient
def outer(x):
    return seven_times(x) + x * x, lambda upstream: upstream * 3.0 * x


class Recomputed(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 16))

    def call(self, x):
        return tf.recompute_grad(lambda inputs: tf.nn.relu(inputs @ self.kernel.value))(x)


def keras_custom_gradient():
    @keras.ops.custom_gradient
    def function(x):
        def grad(*args, upstream=None):
            return (args[0] if upstream is None else upstream) * 5.0

        return x * 2.0, grad

    return layers.Lambda(function)


MODELS = {
    "silu": lambda: stack(layers.Dense(16, activation="silu"), layers.Dense(8, activation="silu")),
    "tf.custom_gradient": lambda: stack(layers.Lambda(seven_times), layers.Dense(3)),
    "one in another": lambda: stack(layers.Dense(4), layers.Lambda(outer), layers.Lambda(outer)),
    "keras.ops.custom_gradient": lambda: stack(keras_custom_gradient(), layers.Dense(3)),
    "tf.recompute_grad": lambda: stack(Recomputed(), layers.Dense(3)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_custom_gradients_are_kept(tmp_path, kind):
    model = MODELS[kind]()
    x = tf.constant(np.random.default_rng(0).standard_normal((3, 32)), tf.float32)

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(function(x) ** 2)
        return tape.gradient(y, x)

    path = export.saved_model(model, tmp_path / "model", packed=True)
    loaded = tf.saved_model.load(path)
    expected = gradient(lambda x: model(x, training=False))
    np.testing.assert_allclose(gradient(loaded.serve), expected, rtol=1e-5, atol=1e-5)
    if kind == "tf.recompute_grad":
        return  # TensorFlow saves none that has been used, be the first one packed or not
    # Saved again, they are there still.
    tf.saved_model.save(loaded, tmp_path / "again", signatures=loaded.signatures)
    again = tf.saved_model.load(str(tmp_path / "again"))
    np.testing.assert_allclose(gradient(again.serve), expected, rtol=1e-5, atol=1e-5)


def test_custom_gradients_do_not_keep_a_second_forward_pass(tmp_path):
    model = MODELS["silu"]()
    path = export.saved_model(model, tmp_path / "model", packed=True)
    (meta,) = saved_model_pb2.SavedModel.FromString(
        (path / "saved_model.pb").read_bytes()
    ).meta_graphs
    matmuls = [n for f in meta.graph_def.library.function for n in f.node_def if n.op == "MatMul"]
    assert len(matmuls) == 2
    assert len(meta.graph_def.library.registered_gradients) == 2
    again = export.saved_model(model, tmp_path / "again", packed=True)
    graphs = [(folder / "saved_model.pb").read_bytes() for folder in (path, again)]
    assert graphs[0] == graphs[1]


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantized_models(tmp_path, mode):
    model = stack(layers.Dense(64, activation="relu"), layers.Dense(32))
    model.quantize(mode)
    x = np.random.default_rng(0).standard_normal((3, 32)).astype("float32")
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model", packed=True))
    np.testing.assert_allclose(loaded.serve(x), model(x), rtol=1e-4, atol=1e-4)


def gelu(x):
    return keras.ops.gelu(x, approximate=True)


def normalised_gelu():
    inputs = keras.Input((32,))
    return keras.Model(inputs, gelu(layers.LayerNormalization()(layers.Dense(64)(inputs))))


def gated_gelu():
    x = inputs = keras.Input((32,))
    for _ in range(2):
        gate, value = (layers.Dense(64, use_bias=False)(x) for _ in range(2))
        x = gelu(gate) * value
    return keras.Model(inputs, x)


def projected_gelu():
    dense = layers.EinsumDense("abc,cd->abd", (None, 64), activation=gelu)
    return keras.Sequential([keras.Input((None, 64)), dense])


SUMS = {
    "dense": lambda: stack(layers.Dense(64, activation=gelu), layers.Dense(64, activation=gelu)),
    "einsum": projected_gelu,
    "functional": normalised_gelu,
    "gated": gated_gelu,
}


@pytest.mark.parametrize("kind", SUMS)
def test_short_names_round_as_the_long_ones(tmp_path, kind, caplog):
    """The export compares every bit itself; here, that no pass had to be left out for it."""
    with caplog.at_level("INFO", logger="tfshed"):
        path = export.saved_model(SUMS[kind](), tmp_path / "model", packed=True)
    assert path.is_dir() and "left out" not in caplog.text
