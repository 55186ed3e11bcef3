"""tfshed.flops: multiply-adds against published counts, with and without zeros."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tfshed import models


@pytest.mark.backend
@pytest.mark.parametrize(
    ("depth", "shortcut", "millions"),
    [(20, "B", 40.8), (56, "A", 125.5), (56, "B", 125.75), (110, "A", 252.9)],
)
def test_residual_networks_have_their_published_counts(depth, shortcut, millions):
    found = tfshed.flops(models.resnet(depth, shortcut=shortcut))
    assert found.macs == pytest.approx(millions * 1e6, rel=1e-3)
    assert found.uncounted == []
    # Of so many random weights one may well be exactly zero.
    assert found.macs * (1 - 1e-4) < found.macs_left <= found.macs


def test_larger_networks_have_their_published_counts():
    # He et al. 2016, table 1 (3.8e9; 4.1e9 is the variant that halves in its 3x3 convolutions);
    # Tan & Le 2019, table 2; Liu et al. 2019 for VGG-16 on CIFAR.
    for net, macs, parameters in (
        (keras.applications.ResNet50(weights=None), 3.86e9, 25.5e6),
        (keras.applications.EfficientNetB0(weights=None), 0.39e9, 5.3e6),
        (models.build("vgg16_bn", input_shape=(32, 32, 3), classes=10), 313e6, 14.7e6),
    ):
        found = tfshed.flops(net)
        assert found.macs == pytest.approx(macs, rel=0.015)
        assert found.parameters == pytest.approx(parameters, rel=0.01)


@pytest.mark.backend
def test_zeros_are_left_out():
    net = tfshed.sparsify(models.resnet(8, width=4), 0.75)
    found = tfshed.flops(net)
    dense = tfshed.flops(models.resnet(8, width=4))
    assert (found.macs, found.parameters) == (dense.macs, dense.parameters)
    assert 0.2 * found.macs < found.macs_left < 0.5 * found.macs
    kernels = [w for w in net.get_weights() if w.ndim >= 2]
    zeros = sum(w.size - np.count_nonzero(w) for w in kernels)
    assert found.parameters - found.parameters_left == zeros > 0


def test_a_filter_that_is_taken_out_takes_its_share_with_it():
    net = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3, use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    sparse = tfshed.sparsify(net, 0.5, granularity="filter", select="conv")
    small, _ = tfshed.export.shrink(sparse)
    assert tfshed.flops(sparse).macs_left == 36 * 27 * 4 + 16
    assert tfshed.flops(small).macs == 36 * 27 * 4 + 8


def test_every_use_of_a_shared_layer_counts():
    dense = keras.layers.Dense(5, name="shared")
    x = keras.Input((5,))
    net = keras.Model(x, dense(dense(x)))
    assert tfshed.flops(net).macs == 2 * 25
    twice = keras.Sequential([keras.Input((5,)), net, keras.layers.Dense(1, name="head")])
    assert tfshed.flops(twice).macs == 2 * 25 + 5


@pytest.mark.backend
def test_wrapped_layers_count_as_what_is_inside():
    net = models.resnet(8, width=4)
    wrapped = tfshed.prune_low_magnitude(net, tfshed.OneShot(0.5))
    found = tfshed.flops(wrapped)
    assert found.macs == tfshed.flops(net).macs and found.uncounted == []


def test_what_is_not_known_is_named():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(3, name="head")

        def call(self, x):
            return self.head(x)

    net = Own()
    with pytest.raises(ValueError, match="call it once"):
        tfshed.flops(net)
    net(np.ones((1, 4)))
    found = tfshed.flops(net)
    assert found.uncounted == ["head"] and found.parameters == 15 and found.macs == 0
    assert "not in the total: head" in str(found) and "?" in str(found)
    with pytest.raises(TypeError, match="received str"):
        tfshed.flops("model")
