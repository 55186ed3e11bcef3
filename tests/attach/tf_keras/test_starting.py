"""tf_keras: with which masks pruning begins: zeros of before, weights set anew, frozen layers."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import tfshed
from tests.attach.tf_keras.nets import check_zeros, data, keep, kernels, net, prune, tf_keras
from tfshed import tfmot
from tfshed.attach.tf_keras.wrapped import wrappers_of

SGD = tf_keras.optimizers.SGD
HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)
RAMP = tfshed.LinearDecay(0.75, end_step=8, frequency=2)
# Its only update is in a step that no test comes to.
NEVER = tfshed.OneShot(0.5, step=1000)
pytestmark = pytest.mark.filterwarnings("ignore:training ended before the pruning schedule")


def fit(model, epochs=1, optimizer=None, **options):
    if optimizer is not False:
        model.compile(optimizer or SGD(0.02), "mse", run_eagerly=True)
    callback = tfmot.UpdatePruningStep(**options)
    model.fit(*data(), batch_size=16, epochs=epochs, verbose=0, callbacks=[callback])
    check_zeros(model)
    return keep(model)


def with_zeros():
    plain = net()
    weight, *others = plain.layers[2].get_weights()
    weight[:4] = 0
    plain.layers[2].set_weights([weight, *others])
    return plain


@pytest.mark.parametrize("hold", [False, True])
def test_zeros_of_before_are_trained_unless_they_are_to_be_held(hold, caplog):
    with caplog.at_level(logging.INFO, "tfshed"):
        model = prune(with_zeros(), NEVER, threshold=0.0, hold_zeros=hold)
        assert fit(model) == (132 / 144 if hold else 1.0)
    told = "12 of 48 weights (blocks) are zero although pruning did not take them" in caplog.text
    assert told == (not hold)


def test_zeros_that_pruning_made_are_held_after_stripping_and_wrapping_again():
    first = prune(net(), HALF, threshold=0.0)
    assert fit(first) == 0.5
    again = prune(tfshed.strip_pruning(first), NEVER, threshold=0.0)
    assert fit(again) == 0.5


def test_weights_set_anew_start_again_and_the_log_tells(caplog):
    model = prune(net(), RAMP, threshold=0.0)
    before = [w.copy() for w in model.layers[0].layer.get_weights()]
    assert fit(model, epochs=2) == 0.25
    for seed in range(2):
        for wrapper in wrappers_of(model):
            rng = np.random.default_rng(seed)
            shapes = [w.shape for w in wrapper.layer.get_weights()]
            wrapper.layer.set_weights([rng.normal(size=shape) for shape in shapes])
        caplog.clear()
        # Four steps of the ramp's eight, as in a first run.
        assert fit(model, epochs=1) == pytest.approx(1 - 0.375, abs=0.01)
        assert "pruning starts again" in caplog.text
    assert before[0].shape == kernels(model)[0].shape


def test_a_recompiled_model_goes_on_where_it_was(caplog):
    model = prune(net(), RAMP, threshold=0.0)
    assert fit(model) == pytest.approx(0.625, abs=0.01)
    with caplog.at_level(logging.INFO, "tfshed"):
        assert fit(model) == 0.25
    assert "pruning starts again" not in caplog.text
    assert {int(w.pruning_step) for w in wrappers_of(model)} == {8}


def test_to_go_on_or_to_start_again_can_be_said():
    model = prune(net(), RAMP, threshold=0.0)
    fit(model)
    masks = [s.mask.numpy() for w in wrappers_of(model) for s in w.state]
    for wrapper in wrappers_of(model):
        weight, *others = wrapper.layer.get_weights()
        wrapper.layer.set_weights([np.where(weight == 0, 1.0, weight), *others])
    assert fit(model, start="continue") == 0.25
    after = [s.mask.numpy() for w in wrappers_of(model) for s in w.state]
    assert not any((now & ~then).any() for now, then in zip(after, masks))
    # Zeros that pruning made stay zeros, and the schedule begins with its first step.
    assert fit(model, start="again") == 0.25
    assert {int(w.pruning_step) for w in wrappers_of(model)} == {4}
    with pytest.raises(ValueError, match="start: expected one of"):
        tfmot.UpdatePruningStep(start="anew")


@pytest.mark.parametrize("order", ["freeze, wrap", "wrap, freeze", "wrap, fit, freeze"])
def test_layers_are_frozen_and_thawed_in_any_order(order):
    plain = net()
    first = plain.layers[0]
    if order == "freeze, wrap":
        first.trainable = False
    model = prune(plain, HALF, threshold=0.0, scope="layer")
    wrapper = model.layers[0]
    assert wrapper.layer is first
    if order == "wrap, fit, freeze":
        fit(model)
    if order != "freeze, wrap":
        wrapper.trainable = False
    before = first.get_weights()[0]
    fit(model)
    np.testing.assert_array_equal(first.get_weights()[0], before)
    assert (before == 0).mean() == (0.5 if order == "wrap, fit, freeze" else 0.0)
    wrapper.trainable = first.trainable = True
    assert fit(model) == 0.5
    assert (first.get_weights()[0] == 0).mean() == 0.5
    x, _ = data()
    outputs = model(x).numpy()
    np.testing.assert_array_equal(tfshed.strip_pruning(model)(x), outputs)
