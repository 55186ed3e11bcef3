"""Frozen and thawed layers: masks and threshold survive, and nothing is pruned meanwhile."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tfshed
from tests.nets import BACKEND, JIT, check_zeros, data, group, kernels, net, schedule
from tfshed.core.backend import to_numpy

pytestmark = pytest.mark.backend


def declared(model=None, **options):
    model = net() if model is None else model
    return tfshed.prune_low_magnitude(
        model, schedule(0.75, end=4, frequency=1), scope="global", threshold=0.01, **options
    )


def train(model, epochs=1):
    x, y = data(16)
    callbacks = [tfshed.UpdatePruningStep()]
    model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)


def compile(model):
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=JIT[0])


@pytest.mark.filterwarnings("ignore:the net has shed itself")
def test_freezing_and_thawing_keeps_masks_and_threshold():
    model = declared()
    compile(model)
    train(model, 2)
    threshold = to_numpy(group(model).threshold)
    assert threshold > 0.01
    hidden = kernels(model)[0]
    model.layers[0].trainable = False
    compile(model)
    train(model)
    frozen_threshold = to_numpy(group(model).threshold)
    assert frozen_threshold >= threshold and len(group(model).kernels) == 1
    np.testing.assert_array_equal(to_numpy(model.layers[0].layer.kernel), hidden)
    model.layers[0].trainable = True
    compile(model)
    train(model)
    assert len(group(model).kernels) == 2
    assert to_numpy(group(model).threshold) >= frozen_threshold
    assert not kernels(model)[0][hidden == 0].any()
    check_zeros(model)
    tfshed.strip_pruning(model)


def test_strip_after_freezing():
    model = declared()
    compile(model)
    train(model)
    model.layers[0].trainable = False
    compile(model)
    train(model)
    stripped = tfshed.strip_pruning(model)
    for w, now in zip(model.get_weights(), stripped.get_weights()):
        np.testing.assert_array_equal(w, now)


@pytest.mark.filterwarnings("ignore:the net has shed itself")
@pytest.mark.parametrize("inside", [False, True])
def test_a_layer_that_was_frozen_when_it_was_wrapped_is_pruned_once_it_is_thawed(inside):
    plain = net()
    plain.layers[0].trainable = False
    model = declared(plain)
    compile(model)
    train(model, 2)
    assert np.count_nonzero(to_numpy(plain.layers[0].kernel)) == 48
    why = "declared, frozen now: pruned as soon as it is trainable"
    rows = {row.path: row.reason for row in tfshed.summary(model, print_fn=str).rows}
    assert rows == {"net/hidden/kernel": why, "net/head/kernel": ""}
    (plain if inside else model).layers[0].trainable = True
    compile(model)
    train(model, 2)
    assert np.count_nonzero(to_numpy(plain.layers[0].kernel)) < 48
    assert not any(row.reason for row in tfshed.summary(model, print_fn=str).rows)


@pytest.mark.filterwarnings("ignore:the net has shed itself", "ignore:nothing is left of")
@settings(
    max_examples=15 if BACKEND == "torch" else 4,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.sampled_from(["freeze 0", "freeze 1", "thaw 0", "thaw 1", "train"]), max_size=6))
def test_every_order_of_freezing_thawing_and_training(actions):
    """Zeros stay zero, frozen weights stay as they are, the threshold never falls."""
    model = declared()
    compile(model)
    threshold, zeros = 0.01, [np.zeros(w.shape, bool) for w in all_kernels(model)]
    for action in actions:
        what, _, number = action.partition(" ")
        if number:
            model.layers[int(number)].trainable = what == "thaw"
            continue
        compile(model)
        live = [layer.layer.kernel.trainable for layer in model.layers]
        if not any(live):
            with pytest.raises(ValueError, match="frozen"):
                train(model)
            continue
        before = all_kernels(model)
        train(model)
        assert float(to_numpy(group(model).threshold)[0]) >= threshold
        threshold = float(to_numpy(group(model).threshold)[0])
        for i, (w, old) in enumerate(zip(all_kernels(model), before)):
            assert not w[zeros[i]].any()
            zeros[i] = w == 0
            if not live[i]:
                np.testing.assert_array_equal(w, old)
    before = model.get_weights()
    for w, old in zip(tfshed.strip_pruning(model).get_weights(), before):
        np.testing.assert_array_equal(w, old)


def all_kernels(model):
    return [to_numpy(layer.layer.kernel) for layer in model.layers]
