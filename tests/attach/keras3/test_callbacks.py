"""tfshed/callbacks.py: the engine is put in, stays in, and holds zeros."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import tfshed
from tfshed.attach.keras3.optimizer import pruning_optimizer

HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)
X = np.random.default_rng(0).normal(size=(8, 8)).astype("float32")
Y = np.random.default_rng(1).normal(size=(8, 2)).astype("float32")


def array(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


def net():
    return keras.Sequential([keras.Input((8,)), L.Dense(8, name="a"), L.Dense(2, name="b")])


def fit(model, *callbacks, **kwargs):
    return model.fit(X, Y, batch_size=4, verbose=0, callbacks=list(callbacks), **kwargs)


def nonzeros(model) -> list[int]:
    return [np.count_nonzero(w) for w in model.get_weights() if w.ndim == 2]


@pytest.mark.backend
def test_the_optimizer_is_wrapped_once():
    model = tfshed.prune_low_magnitude(net(), HALF)
    model.compile("adam", "mse")
    inner = model.optimizer
    fit(model, tfshed.UpdatePruningStep())
    first = model.optimizer
    assert pruning_optimizer(first) is first and first.inner_optimizer is inner
    fit(model, tfshed.UpdatePruningStep(), tfshed.UpdatePruningStep())
    assert model.optimizer is first
    assert int(array(first.iterations)) == 4


@pytest.mark.backend
def test_compiling_again_without_the_callback_is_an_error_and_with_it_keeps_the_masks():
    model = tfshed.prune_low_magnitude(net(), HALF)
    model.compile("sgd", "mse")
    fit(model, tfshed.UpdatePruningStep())
    zeros = array(model.layers[0].layer.kernel) == 0
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="no optimizer prunes it"):
        fit(model)
    fit(model, tfshed.UpdatePruningStep(), epochs=2)
    np.testing.assert_array_equal(array(model.layers[0].layer.kernel) == 0, zeros)


@pytest.mark.backend
def test_a_custom_loop_after_fit():
    model = tfshed.prune_low_magnitude(net(), HALF)
    model.compile("sgd", "mse")
    fit(model, tfshed.UpdatePruningStep())
    model.compile("sgd", "mse")
    optimizer = tfshed.PruningOptimizer("sgd", model)
    optimizer.build(model.trainable_variables)
    model(X, training=True)
    grads = [ops.ones(v.shape) for v in model.trainable_variables]
    optimizer.apply(grads, model.trainable_variables)
    assert nonzeros(model) == [32, 8]


@pytest.mark.backend
def test_the_callback_says_what_is_missing():
    callback = tfshed.UpdatePruningStep()
    with pytest.raises(ValueError, match=r"compiled model, received .* model.compile\(...\)"):
        callback.set_model(tfshed.prune_low_magnitude(net(), HALF))
    plain = net()
    plain.compile("sgd", "mse")
    optimizer = plain.optimizer
    with pytest.warns(UserWarning, match="declares nothing to prune and is trained as it is"):
        fit(plain, tfshed.UpdatePruningStep())
    assert plain.optimizer is optimizer
    # But zeros that such a training would fill are not lost with a warning only.
    sparse = tfshed.sparsify(net(), 0.5)
    sparse.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"hold zeros .*prune_low_magnitude.*KeepZeros\(\)"):
        fit(sparse, tfshed.UpdatePruningStep())
    with pytest.raises(ValueError, match="compile"):
        fit(tfshed.prune_low_magnitude(net(), HALF), tfshed.UpdatePruningStep())


@pytest.mark.backend
def test_zeros_are_held_whatever_made_them():
    model = net()
    kernel = array(model.layers[0].kernel).copy()
    kernel[:, :3] = 0
    model.layers[0].kernel.assign(kernel)
    model.compile("adam", "mse")
    inner = model.optimizer
    fit(model, tfshed.KeepZeros(), epochs=3)
    np.testing.assert_array_equal(array(model.layers[0].kernel) == 0, kernel == 0)
    assert model.optimizer is inner
    fit(model)
    assert nonzeros(model)[0] == 64


@pytest.mark.backend
def test_zeros_of_embeddings_and_depthwise_kernels_are_held_too():
    inputs = keras.Input((8,))
    tokens = ops.cast(ops.abs(inputs), "int32")
    x = L.Embedding(16, 4, name="table")(tokens)
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(L.DepthwiseConv1D(3, name="dw")(x))))
    tfshed.sparsify(model, 0.5, select="table|dw", scope="layer")
    zeros = [w == 0 for w in model.get_weights()[:2]]
    model.compile("adam", "mse")
    fit(model, tfshed.KeepZeros(), epochs=2)
    for now, then in zip(model.get_weights(), zeros):
        np.testing.assert_array_equal(now == 0, then)


@pytest.mark.backend
def test_nothing_to_hold():
    model = net()
    with pytest.raises(ValueError, match="expected a compiled model"):
        tfshed.KeepZeros().set_model(model)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="with zeros in its kernels, received"):
        fit(model, tfshed.KeepZeros())
