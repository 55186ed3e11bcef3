"""Matrices that are no kernels by name, and heads: what is listed, left out and selected."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import tfshed
from tests.nets import array, kept
from tests.nets import normal as data
from tfshed.attach.declared import report_of
from tfshed.attach.heads import heads

HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)
EAGER = keras.backend.backend() != "jax"


class Odd(L.Layer):
    """A layer whose matrices have names of their own."""

    def build(self, shape):
        self.proj = self.add_weight(shape=(shape[-1], 4), name="proj")
        self.rel_embedding = self.add_weight(shape=(6, 4), name="rel_embedding")
        self.bias = self.add_weight(shape=(1, 4), name="bias")
        self.statistic = self.add_weight(shape=(2, 4), name="mean", trainable=False)
        self.inner = L.Dense(4, name="inner")
        self.inner.build((None, 4))

    def call(self, x):
        return self.inner(x @ self.proj + ops.sum(self.rel_embedding, 0) + self.bias)


def net():
    layers = [keras.Input((8,)), Odd(name="odd"), L.Dense(2, name="head")]
    return keras.Sequential(layers, name="net")


@pytest.mark.backend
def test_every_matrix_is_listed_with_a_reason():
    model = tfshed.prune_low_magnitude(net(), HALF)
    rows = {row.path.removeprefix("net/odd/"): row.reason.split(":")[0] for row in report_of(model)}
    assert rows == {
        "proj": "not named as a kernel",
        "rel_embedding": "not named as a kernel",
        "bias": "bias or normalisation",
        "mean": "not trainable",
        "inner/kernel": "",
        "net/head/kernel": "",
    }
    paths = [row.path for row in tfshed.summary(model, print_fn=str).rows]
    assert paths == [row.path for row in report_of(model)]


@pytest.mark.backend
@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("proj", ["proj"]),
        ([("rel_embedding", True)], ["rel_embedding", "inner/kernel", "net/head/kernel"]),
        # Who selects a layer does not mean its bias, but can name it.
        ("odd", ["proj", "rel_embedding", "inner/kernel"]),
        (lambda layer, v: layer.name == "odd", ["proj", "rel_embedding"]),
        ("odd/bias", ["bias"]),
    ],
)
def test_any_trained_matrix_can_be_selected(select, expected):
    model = tfshed.prune_low_magnitude(net(), HALF, select=select)
    rows = [row.path.removeprefix("net/odd/") for row in report_of(model) if row.pruned]
    assert rows == expected
    model.compile("sgd", "mse", run_eagerly=EAGER)
    model.fit(data(4, 8), data(4, 2), verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    for variable in model.variables:
        name = variable.path.removeprefix("net/odd/")
        if len(variable.shape) == 2 and name not in ("mean", "bias"):
            assert kept(variable) == (0.5 if name in expected else 1.0), name
    tfshed.strip_pruning(model)


@pytest.mark.backend
def test_the_untied_head_of_a_language_model():
    table = keras.layers.ReversibleEmbedding(10, 8, tie_weights=False, name="table")
    table.build((None,))
    assert [v.name for v in table.variables] == ["embeddings", "reverse_embeddings"]
    wrapper = tfshed.prune_low_magnitude(table, HALF, select="reverse_embeddings")
    assert wrapper.get_prunable_weights() == [table.reverse_embeddings]
    axes = wrapper.chosen_kernels()[0].axes
    assert (axes.input, axes.output) == (0, 1)


def test_wrapping_a_layer_means_its_kernels():
    layer = L.MultiHeadAttention(2, 4)
    layer.build((None, 3, 8), (None, 3, 8))
    wrapper = tfshed.prune_low_magnitude(layer, HALF)
    assert {v.name for v in wrapper.get_prunable_weights()} == {"kernel"}


# Heads.


def with_head():
    inputs = keras.Input((8, 8, 3))
    body = keras.Sequential([L.Conv2D(8, 3, name="conv"), L.GlobalAveragePooling2D()], name="body")
    x = body(inputs)
    first = L.Softmax()(L.Dense(4, name="first")(x))
    second = L.Reshape((2, 1))(L.BatchNormalization()(L.Dense(2, name="second")(x)))
    return keras.Model(inputs, {"a": first, "b": second * 2.0}, name="net")


@pytest.mark.backend
def test_filters_of_heads_are_no_filters_to_prune():
    model = with_head()
    assert {layer.name for layer in heads(model)} == {"first", "second"}
    pruned = tfshed.prune_low_magnitude(model, HALF, granularity=tfshed.Filter())
    rows = {row.path: row.reason for row in tfshed.summary(pruned, print_fn=str).rows}
    why = "makes the model's outputs: off by default, select it by name to prune it"
    assert [rows["first/kernel"], rows["second/kernel"]] == [why, why]
    assert [row.path for row in report_of(pruned) if row.pruned] == ["body/conv/kernel"]
    tfshed.sparsify(model, 0.5, granularity=tfshed.Filter())
    assert kept(model.get_layer("first").kernel) == 1.0
    assert kept(model.get_layer("body").layers[0].kernel) == 0.5
    # By name they are pruned, and other granularities leave no class without weights.
    chosen = tfshed.prune_low_magnitude(model, HALF, granularity=tfshed.Filter(), select="first")
    assert [row.path for row in report_of(chosen) if row.pruned] == ["first/kernel"]
    assert all(row.pruned for row in report_of(tfshed.prune_low_magnitude(model, HALF)))


def test_heads_of_what_has_none():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = L.Dense(2)

        def call(self, x):
            return self.head(x)

    model = Own()
    model(data(1, 4))
    assert heads(model) == [] == heads(L.Dense(2))
    inputs = keras.Input((4,))
    (found,) = heads(keras.Model(inputs, Own()(inputs)))
    assert type(found) is Own


@pytest.mark.backend
def test_sparsify_says_which_kernels_it_empties():
    layers = [keras.Input((6,)), L.Dense(8, name="small"), L.Dense(3, name="large")]
    model = keras.Sequential(layers, name="net")
    small, large = (layer.kernel for layer in model.layers)
    small.assign(array(small) * 1e-3)
    large.assign(np.sign(array(large)) + 1.0 * (array(large) == 0))
    with pytest.warns(UserWarning, match=r"left of 1 of 2 kernels at .*0.75: net/small/kernel\. "):
        tfshed.sparsify(model, 0.75)
    assert not array(small).any()
