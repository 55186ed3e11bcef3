"""Which kernels of a model are chosen, by whom, and what is said about it."""

from __future__ import annotations

import logging

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import tfshed
from tfshed.attach.declared import report_of
from tfshed.attach.keras3.declarations import groups_of

HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)


def net():
    layers = [keras.Input((8, 8, 4)), L.Conv2D(4, 3, name="conv1"), L.Conv2D(4, 3, name="conv2")]
    layers += [L.DepthwiseConv2D(3, name="dw"), L.Flatten(), L.Dense(2, name="head")]
    return keras.Sequential(layers, name="net")


def chosen(model, **kwargs) -> list[str]:
    pruned = tfshed.prune_low_magnitude(model, HALF, **kwargs)
    return [row.path.split("/")[1] for row in report_of(pruned) if row.pruned]


@pytest.mark.backend
@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (None, ["conv1", "conv2", "head"]),
        ("conv", ["conv1", "conv2"]),
        ("conv2/kernel$", ["conv2"]),
        ("net/(head|dw)", ["dw", "head"]),
        (lambda layer, v: isinstance(layer, L.Dense), ["head"]),
        (lambda layer, v: True if layer.name == "dw" else None, ["conv1", "conv2", "dw", "head"]),
        (lambda layer, v: v.shape[-1] == 2, ["head"]),
        ([("head", False)], ["conv1", "conv2"]),
        ([("conv1", True), ("conv", False)], ["conv1", "head"]),
        ([("conv", False), ("conv1", True)], ["head"]),
        ([("dw", True)], ["conv1", "conv2", "dw", "head"]),
        ([("dw", True), (".*", False)], ["dw"]),
        ([(lambda layer, v: isinstance(layer, L.Conv2D), False)], ["head"]),
        ([], ["conv1", "conv2", "head"]),
    ],
)
def test_rules_first_match_wins(select, expected):
    assert chosen(net(), select=select) == expected


def test_every_match_is_logged(caplog):
    with caplog.at_level(logging.INFO, "tfshed"):
        chosen(net(), select=[("conv1", False), ("conv", True)])
    text = [r.getMessage() for r in caplog.records if r.name == "tfshed"]
    assert "select: net/conv1/kernel left by rule 'conv1'" in text
    assert "select: net/conv2/kernel pruned by rule 'conv'" in text
    assert "left alone: net/conv1/kernel (Conv2D): rule 'conv1'" in text
    assert any(t.startswith("left alone: net/dw/kernel (DepthwiseConv2D): depthwise") for t in text)
    assert len([t for t in text if t.startswith("select: net/conv1/kernel")]) == 1


def test_a_convolution_with_a_group_for_each_channel_is_depthwise():
    layers = [
        keras.Input((8, 8, 8)),
        L.Conv2D(8, 3, groups=8, name="each"),
        L.Conv2D(8, 3, groups=2, name="two"),
    ]
    assert chosen(keras.Sequential(layers, name="net")) == ["two"]


@pytest.mark.backend
def test_a_name_that_matches_nothing():
    for select in ("cnv1", [("conv", True), ("cnv1", False)]):
        with pytest.raises(ValueError, match=r"received 'cnv1'.*Nearest: \['net/conv1/kernel'"):
            chosen(net(), select=select)
    with pytest.raises(ValueError, match="'zzz', which matches none of 4. Kernels: .*head"):
        chosen(net(), select="zzz")
    # What an earlier rule has decided about is no unknown name.
    chosen(net(), select=[("conv", True), ("conv1", False)])


@pytest.mark.backend
def test_what_is_frozen_is_declared_and_not_pruned_at_once():
    model = net()
    model.get_layer("conv1").trainable = False
    assert chosen(model, select="conv") == ["conv1", "conv2"]
    tfshed.sparsify(model, 0.5, select="conv")
    assert np.count_nonzero(model.get_layer("conv1").get_weights()[0]) == 144
    with pytest.raises(ValueError, match="only frozen ones: .*conv1/kernel"):
        tfshed.sparsify(model, 0.5, select="conv1")


class OnlyConvolutions(tfshed.PruningPolicy):
    def allow_pruning(self, layer):
        return isinstance(layer, L.Conv2D)


@pytest.mark.backend
def test_a_policy_is_asked_before_the_rules():
    assert chosen(net(), pruning_policy=OnlyConvolutions()) == ["conv1", "conv2"]
    assert chosen(net(), pruning_policy=OnlyConvolutions(), select="conv2|head") == ["conv2"]
    report = report_of(tfshed.prune_low_magnitude(net(), HALF, pruning_policy=OnlyConvolutions()))
    assert report[-1].reason == "pruning policy OnlyConvolutions"
    layer = L.Dense(2)
    assert tfshed.prune_low_magnitude(layer, HALF, pruning_policy=OnlyConvolutions()) is layer


@pytest.mark.backend
def test_what_does_not_fit_the_granularity_stays_dense_and_is_reported():
    layers = [keras.Input((6,)), L.Dense(8, name="a"), L.Dense(2, name="b")]
    model = keras.Sequential(layers, name="net")
    report = report_of(tfshed.prune_low_magnitude(model, HALF, granularity=tfshed.Block(4, 1)))
    assert [row.pruned for row in report] == [False, True]
    assert "6 input channels are no multiple of 4" in report[0].reason


@pytest.mark.backend
def test_integers_are_left_alone():
    class Codes(L.Layer):
        def build(self, shape):
            self.codes = self.add_weight(
                shape=(8, 2), name="kernel", dtype="int32", initializer="zeros", trainable=False
            )

        def call(self, x):
            return x @ ops.cast(self.codes, "float32")

    model = keras.Sequential([keras.Input((8,)), L.Dense(8), Codes()])
    report = report_of(tfshed.prune_low_magnitude(model, HALF))
    assert "only floating weights" in report[1].reason


@pytest.mark.backend
def test_one_shot_pruning_of_a_wrapped_model_knows_the_axes():
    model = keras.Sequential([keras.Input((4, 4, 8)), L.Conv2DTranspose(3, 2, name="t")])
    wrapped = tfshed.prune_low_magnitude(model, HALF)
    tfshed.sparsify(wrapped, 0.5, granularity=tfshed.Block(4, 1))
    blocks = np.asarray(ops.convert_to_numpy(model.layers[0].kernel)).reshape(2, 2, 3, 2, 4) != 0
    np.testing.assert_array_equal(blocks.all(-1), blocks.any(-1))


def test_the_selected_groups_of_nothing():
    with pytest.raises(ValueError, match="nothing to prune: expected a model with kernels"):
        groups_of(net())
    with pytest.raises(TypeError, match="received builtins.int"):
        groups_of(3)
