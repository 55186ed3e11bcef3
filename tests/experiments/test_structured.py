"""Filter pruning of papers: FLOPs cuts and budgets as published, and smaller nets out of each."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tfshed import models
from tfshed.core.backend import to_numpy
from tfshed.experiments.retraining.strategies import budget_epochs
from tfshed.experiments.structured import (
    PRESETS,
    SoftFilterPruning,
    preset,
    prune_by_scale,
    prune_filters,
    put_scale_penalty,
)

# Epochs of Scratch-B for 160 epochs of training, and the multiply-adds that go, in Liu et al. 2019,
# table 1 and their code.
PUBLISHED = {
    "vgg16_a": (243, 0.342),
    "resnet56_a": (178, 0.104),
    "resnet56_b": (220, 0.276),
    "resnet110_a": (190, 0.159),
    "resnet110_b": (260, 0.387),
}


def network(name):
    options = {"shortcut": "A"} if "resnet" in name else {}
    return models.build(name, input_shape=(32, 32, 3), classes=10, **options)


def left_after(net):
    """Multiply-adds when zero filters, and the weights that read them, are taken out."""
    graph = {layer.name: layer for layer in net.layers}
    convolutions = [layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer, reader in zip(convolutions, [*convolutions[1:], graph["logits"]]):
        gone = ~(to_numpy(layer.kernel) != 0).any(axis=(0, 1, 2))
        if gone.any():
            kernel = to_numpy(reader.kernel).copy()
            kernel[..., gone, :] = 0
            reader.kernel.assign(kernel)
    return tfshed.flops(net).macs_left


def presets():
    for name in sorted(PRESETS):
        yield name if name in PUBLISHED else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", list(presets()))
def test_presets_cut_as_much_as_published(name):
    found = preset(name)
    net = network(found.network)
    dense = tfshed.flops(net).macs
    gone = prune_filters(net, found.ratios)
    assert all(gone.values()) and set(gone) == set(found.ratios)
    left = left_after(net)
    assert 1 - left / dense == pytest.approx(found.flops_cut, abs=1e-3)
    if name in PUBLISHED:
        assert (found.scratch_b, found.flops_cut) == PUBLISHED[name]
        assert budget_epochs(160, dense, left) == found.scratch_b


def test_a_smaller_net_comes_out():
    found = preset("resnet56_b")
    net = models.build("resnet20", input_shape=(8, 8, 3), classes=4, shortcut="A", width=8)
    ratios = {name: 0.5 for name in found.ratios if name in {x.name for x in net.layers}}
    prune_filters(net, ratios, norm="l2")
    small, _ = tfshed.export.shrink(net)
    for name in ratios:
        assert small.get_layer(name).filters == net.get_layer(name).filters // 2
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.testing.assert_allclose(
        *(to_numpy(each(x, training=False)) for each in (net, small)), rtol=1e-4, atol=1e-4
    )
    assert tfshed.flops(small).macs == left_after(net)


def small_net():
    layers = [
        keras.layers.Conv2D(10, 3, padding="same", name="first"),
        keras.layers.BatchNormalization(name="first_bn"),
        keras.layers.ReLU(),
        keras.layers.Conv2D(6, 3, name="second"),
        keras.layers.BatchNormalization(name="second_bn"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3, name="head"),
    ]
    return keras.Sequential([keras.Input((6, 6, 2)), *layers])


def kept(layer):
    return (to_numpy(layer.kernel) != 0).any(axis=(0, 1, 2))


@pytest.mark.backend
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_filters_of_lowest_norm_go(norm):
    net = small_net()
    kernel = to_numpy(net.get_layer("first").kernel).reshape(-1, 10)
    sizes = np.abs(kernel).sum(0) if norm == "l1" else np.square(kernel).sum(0)
    assert prune_filters(net, {"first": 0.3}, norm=norm) == {"first": 3}
    np.testing.assert_array_equal(kept(net.get_layer("first")), sizes > np.sort(sizes)[2])
    assert kept(net.get_layer("second")).all()
    gamma = to_numpy(net.get_layer("first_bn").gamma)
    np.testing.assert_array_equal(gamma != 0, kept(net.get_layer("first")))


def test_random_filters_follow_the_seed():
    masks = []
    for seed in (0, 0, 1):
        net = small_net()
        prune_filters(net, {"first": 0.5}, norm="random", seed=seed)
        masks.append(kept(net.get_layer("first")).tolist())
    assert masks[0] == masks[1] != masks[2] and sum(masks[0]) == 5
    # One filter stays in any case.
    net = small_net()
    assert prune_filters(net, {"second": 0.99}) == {"second": 5}


def test_errors_say_what_was_expected():
    net = small_net()
    before = net.get_weights()
    for ratios, options, words in (
        ({"frist": 0.5}, {}, "Did you mean 'first'"),
        ({"first": 1.0}, {}, r"ratios\['first'\]: expected a number in \[0, 1\)"),
        ({"first": 0.5}, {"norm": "l3"}, "norm: expected one of l1"),
    ):
        with pytest.raises(ValueError, match=words):
            prune_filters(net, ratios, **options)
    with pytest.raises(ValueError, match="ratio: expected"):
        prune_by_scale(net, 1.0)
    with pytest.raises(ValueError, match="Did you mean 'resnet56_a'"):
        preset("resnet56a")
    with pytest.raises(ValueError, match="expected BatchNormalization"):
        put_scale_penalty(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]), 1e-4)
    for a, b in zip(net.get_weights(), before):
        np.testing.assert_array_equal(a, b)


@pytest.mark.backend
def test_slimming_penalises_scales_and_cuts_over_all_layers():
    net = small_net()
    assert put_scale_penalty(net, 0.5) == 2
    net.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
    # The penalty is 0.5 for each of the 16 scales, which are 1 at the start.
    plain = float(np.mean(np.square(to_numpy(net(x, training=False)))))
    assert net.evaluate(x, np.zeros((8, 3)), verbose=0) == pytest.approx(8 + plain, rel=1e-4)
    net.get_layer("first_bn").gamma.assign(np.linspace(0.1, 1, 10))
    net.get_layer("second_bn").gamma.assign([0.01, 0.02, 0.95, -0.03, 0.96, 0.97])
    assert prune_by_scale(net, 0.5) == {"first": 5, "second": 3}
    assert kept(net.get_layer("second")).tolist() == [False, False, True, False, True, True]
    small, _ = tfshed.export.shrink(net)
    assert small.get_layer("first").filters == 5 and small.get_layer("second").filters == 3
    # A layer keeps its largest scale, whatever the cut.
    net.get_layer("second_bn").gamma.assign(np.full(6, 1e-6))
    assert prune_by_scale(net, 0.9)["second"] == 5


@pytest.mark.backend
def test_soft_pruning_lets_filters_grow_again():
    net = small_net()
    net.compile(keras.optimizers.SGD(0.5), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 6, 6, 2)).astype("float32"), rng.normal(size=(16, 3))
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(int(kept(self.model.get_layer("first")).sum()))

        def on_epoch_begin(self, epoch, logs=None):
            seen.append(int(kept(self.model.get_layer("first")).sum()))

    before = Look()
    soft = SoftFilterPruning({"first": 0.4})
    net.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[before, soft])
    # At the start of each epoch but the first four filters are zero; at its end, before they are
    # zeroed again, some have grown.
    assert seen[::2] == [10, 6, 6] and min(seen[1::2]) > 6
    assert int(kept(net.get_layer("first")).sum()) == 6
    gamma = to_numpy(net.get_layer("first_bn").gamma)
    np.testing.assert_array_equal(gamma != 0, kept(net.get_layer("first")))
    small, _ = tfshed.export.shrink(net)
    assert small.get_layer("first").filters == 6
    with pytest.raises(ValueError, match=r"expected numbers in \[0, 1\)"):
        net.fit(x, y, verbose=0, callbacks=[SoftFilterPruning({"first": 1.5})])
