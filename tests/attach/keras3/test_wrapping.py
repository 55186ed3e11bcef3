"""What can be wrapped: decorated layers, first layers, models that are not built, frozen layers."""

from __future__ import annotations

import inspect
import json
import zipfile

import keras
import numpy as np
import pytest
from keras import layers as L

import tfshed
from tests.nets import array, kept
from tests.nets import normal as data

HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)
EAGER = keras.backend.backend() != "jax"
prune = tfshed.prune_low_magnitude


def train(model, x, y, **kwargs):
    model.compile("sgd", "mse", run_eagerly=EAGER)
    model.fit(x, y, verbose=0, callbacks=[tfshed.UpdatePruningStep()], **kwargs)


def net(name="net"):
    layers = [keras.Input((8,)), L.Dense(8, name="hidden"), L.Dense(2, name="head")]
    return keras.Sequential(layers, name=name)


def decorated(method):
    """As decorators of HGQ2 and others do it: the signature of the function, `self` and all."""

    def inner(self, *args, **kwargs):
        return method(self, *args, **kwargs)

    inner.__signature__ = inspect.signature(method)
    return inner


class Decorated(L.Layer):
    @decorated
    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 4), name="kernel")

    @decorated
    def call(self, x, scale=1.0, training=None):
        return x @ self.kernel * scale


@pytest.mark.backend
@pytest.mark.parametrize("built", [True, False])
def test_a_layer_whose_methods_carry_a_signature(built):
    layer = Decorated()
    if built:
        layer.build((None, 8))
    wrapped = prune(layer, HALF)
    inputs = keras.Input((8,))
    model = keras.Model(inputs, wrapped(inputs, scale=2.0))
    x = data(4, 8)
    np.testing.assert_allclose(array(model(x)), x @ array(layer.kernel) * 2, rtol=1e-5)
    train(model, x, data(4, 4))
    assert kept(layer.kernel) == 0.5


@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")
def test_a_wrapped_first_layer_keeps_its_input_shape():
    first = prune(L.Conv2D(2, 3, input_shape=(8, 8, 4), name="conv"), HALF)
    model = keras.Sequential([first, L.Flatten(), L.Dense(2)])
    assert model.input_shape == (None, 8, 8, 4)
    assert tuple(first.layer.kernel.shape) == (3, 3, 4, 2)
    train(model, data(4, 8, 8, 4), data(4, 2))
    assert kept(first.layer.kernel) == 0.5


@pytest.mark.backend
def test_a_sequential_model_that_is_not_built():
    inner = keras.Sequential([L.Dense(8), L.ReLU()], name="inner")
    model = prune(keras.Sequential([L.Embedding(5, 8), inner, L.Dense(2)]), HALF)
    tokens = np.arange(4).reshape(4, 1) % 5
    model.compile("sgd", "mse", run_eagerly=EAGER)
    with pytest.raises(RuntimeError, match=r"Add tfshed.UpdatePruningStep\(\)"):
        model.fit(tokens, data(4, 1, 2), verbose=0)
    train(model, tokens, data(4, 1, 2))
    kernels = [v for v in model.trainable_variables if v.name in ("kernel", "embeddings")]
    # As in a model that is built: no embeddings unless they are selected.
    assert [kept(k) for k in kernels] == [1.0, 0.5, 0.5]
    stripped = tfshed.strip_pruning(model)
    np.testing.assert_array_equal(array(stripped(tokens)), array(model(tokens)))
    with pytest.raises(ValueError, match="select: expected a built model.*not built.*build"):
        prune(keras.Sequential([L.Dense(2)]), HALF, select="dense")


@pytest.mark.backend
def test_frozen_layers_are_declared_and_pruned_when_they_are_thawed():
    plain = net()
    plain.layers[0].trainable = False
    model = prune(plain, HALF)
    hidden, head = (layer.layer.kernel for layer in model.layers)
    reasons = {row.path: row.reason for row in tfshed.summary(model, print_fn=str).rows}
    assert reasons == {
        "net/hidden/kernel": "declared, frozen now: pruned as soon as it is trainable",
        "net/head/kernel": "",
    }
    train(model, data(4, 8), data(4, 2))
    assert [kept(hidden), kept(head)] == [1.0, 0.5]
    model.layers[0].trainable = True
    train(model, data(4, 8), data(4, 2))
    assert [kept(hidden), kept(head)] == [0.5, 0.5]


@pytest.mark.backend
def test_an_optimizer_that_is_compiled_in_prunes():
    model = prune(net(), HALF)
    model.compile(tfshed.PruningOptimizer("sgd", model), "mse")
    model.fit(data(4, 8), data(4, 2), verbose=0)
    assert [kept(layer.layer.kernel) for layer in model.layers] == [0.5, 0.5]


# What tfmot's users ask of a wrapper.


@pytest.mark.backend
def test_the_attributes_of_tfmots_wrapper():
    layer = prune(L.Dense(4), HALF)
    assert layer.pruning_schedule is HALF
    assert (layer.block_size, layer.block_pooling_type) == ((1, 1), "AVG")
    assert layer.sparsity_m_by_n is None
    assert layer.layer.get_prunable_weights() == [] == layer.get_prunable_weights()
    layer.build((None, 8))
    assert layer.layer.get_prunable_weights() == [layer.layer.kernel]
    blocks = prune(L.Dense(4), HALF, (np.int64(2), 1), "MAX")
    assert (blocks.block_size, blocks.block_pooling_type) == ((2, 1), "MAX")
    assert prune(L.Dense(4), HALF, sparsity_m_by_n=np.array([3, 4])).sparsity_m_by_n == (3, 4)


# Which kernels a wrapper names, in a file.


def saved(tmp_path, edit=lambda config: None):
    """A model of which only the kernel of `lstm` is declared, saved, with its config edited."""
    layers = [keras.Input((3, 8)), L.LSTM(4, name="lstm"), L.Dense(2, name="head")]
    model = prune(keras.Sequential(layers, name="net"), HALF, select="lstm/.*recurrent_kernel")
    model.save(tmp_path / "a.keras")
    a, b = zipfile.ZipFile(tmp_path / "a.keras"), zipfile.ZipFile(tmp_path / "b.keras", "w")
    with a, b:
        for name in a.namelist():
            content = a.read(name)
            if name == "config.json":
                config = json.loads(content)
                edit(config["config"]["layers"][1]["config"])
                content = json.dumps(config).encode()
            b.writestr(name, content)
    return keras.models.load_model(tmp_path / "b.keras")


def names(model):
    return [k.variable.name for k in model.layers[0].chosen_kernels()]


@pytest.mark.backend
def test_kernels_are_saved_by_number_name_and_shape(tmp_path):
    seen = []
    loaded = saved(tmp_path, lambda config: seen.append(config["kernels"]))
    (entry,) = seen[0]
    assert entry["number"] == 1 and entry["shape"] == [4, 16]
    assert entry["path"].endswith("lstm/lstm_cell/recurrent_kernel")
    assert names(loaded) == ["recurrent_kernel"]


@pytest.mark.backend
def test_files_with_bare_numbers_are_read(tmp_path):
    assert names(saved(tmp_path, lambda config: config.update(kernels=[1]))) == ["recurrent_kernel"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"shape": [4, 12]}, r"expected kernel 1 to be .*recurrent_kernel \(4, 12\), found .*16\)"),
        ({"path": "net/lstm/bias_kernel"}, "to be net/lstm/bias_kernel"),
        ({"number": 7}, "lstm: expected at least 8 kernels, .*found 2"),
    ],
)
def test_other_kernels_than_those_that_were_saved_are_refused(change, text, tmp_path):
    def edit(config):
        config["kernels"][0].update(change)

    with pytest.raises(ValueError, match=text):
        saved(tmp_path, edit).layers[0].chosen_kernels()
