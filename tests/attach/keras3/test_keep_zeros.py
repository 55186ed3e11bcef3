"""KeepZeros: zeros stay through later training, and nothing else is changed by it."""

from __future__ import annotations

import gc

import keras
import numpy as np
import pytest

import tfshed
from tests.nets import JIT, ZerosAfterEveryStep, data, kernels, net, pruned
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.core.backend import to_numpy

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "averaged": lambda: keras.optimizers.Adam(0.05, use_ema=True),
}


def train(model, *callbacks, epochs=2):
    x, y = data(32)
    model.fit(x, y, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks))


# On JAX a second fit with use_ema=True fails in plain Keras, too: its averages are gone by then.
ALL = [pytest.param(n, marks=[] if n == "averaged" else pytest.mark.backend) for n in OPTIMIZERS]


@pytest.mark.parametrize("name", ALL)
def test_zeros_stay_through_several_fits(name):
    model = tfshed.sparsify(net(), 0.75)
    zeros = [w == 0 for w in kernels(model)]
    model.compile(OPTIMIZERS[name](), "mse", jit_compile=JIT[0])
    optimizer = model.optimizer
    for fits in range(1, 4):
        before = kernels(model)
        watch = ZerosAfterEveryStep()
        train(model, tfshed.KeepZeros(), watch)
        assert watch.kept == [18] * 4
        for w, zero, old in zip(kernels(model), zeros, before):
            np.testing.assert_array_equal(w == 0, zero)
            assert (w[~zero] != old[~zero]).any()
        assert model.optimizer is optimizer
        assert int(to_numpy(optimizer.iterations)) == 4 * fits


@pytest.mark.backend
def test_a_kernel_of_nothing_but_zeros_stays_so():
    model = net()
    model.layers[0].kernel.assign(np.zeros((6, 8)))
    model.compile("adam", "mse", jit_compile=JIT[0])
    train(model, tfshed.KeepZeros())
    assert not kernels(model)[0].any() and kernels(model)[1].all()


@pytest.mark.backend
def test_it_lets_go_when_fit_ends():
    model = tfshed.sparsify(net(), 0.75)
    model.compile("adam", "mse", jit_compile=JIT[0])
    train(model, tfshed.KeepZeros())
    train(model)
    dense = [np.count_nonzero(w) for w in kernels(model)]
    assert sum(dense) > 18
    # Nor does what looks for pruned weights later find them held.
    tfshed.strip_pruning(model)
    assert [np.count_nonzero(w) for w in kernels(model)] == dense


@pytest.mark.backend
def test_an_optimizer_that_prunes_goes_on_pruning():
    model = pruned(keras.optimizers.SGD(0.01), threshold=0.0)
    train(model, tfshed.UpdatePruningStep())
    optimizer = model.optimizer
    for callbacks in ([tfshed.KeepZeros()], [tfshed.UpdatePruningStep(), tfshed.KeepZeros()]):
        train(model, *callbacks)
        assert pruning_optimizer(model.optimizer) is optimizer
    assert sum(np.count_nonzero(w) for w in kernels(model)) == 18


@pytest.mark.backend
def test_a_pruned_model_that_was_stripped_is_held():
    model = pruned(keras.optimizers.SGD(0.01), threshold=0.0)
    train(model, tfshed.UpdatePruningStep(), epochs=4)
    plain = tfshed.strip_pruning(model)
    zeros = [w == 0 for w in kernels(plain)]
    assert sum(z.sum() for z in zeros) == 54
    plain.compile("adam", "mse", jit_compile=JIT[0])
    train(plain, tfshed.KeepZeros())
    for w, zero in zip(kernels(plain), zeros):
        np.testing.assert_array_equal(w == 0, zero)


@pytest.mark.backend
def test_inside_of_loss_scaling():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    model = tfshed.sparsify(net(), 0.75)
    zeros = [w == 0 for w in kernels(model)]
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse", jit_compile=JIT[0])
    outer, inner = model.optimizer, model.optimizer.inner_optimizer
    train(model, tfshed.KeepZeros())
    assert model.optimizer is outer and outer.inner_optimizer is inner
    for w, zero in zip(kernels(model), zeros):
        np.testing.assert_array_equal(w == 0, zero)


@pytest.mark.backend
@pytest.mark.parametrize("first", [True, False])
def test_with_pruning_it_may_stand_before_or_after(first):
    model = tfshed.prune_low_magnitude(
        tfshed.sparsify(net(), 0.25), tfshed.LinearDecay(0.75, end_step=4), threshold=0.0
    )
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=JIT[0])
    zeros = [w == 0 for w in kernels(model)]
    callbacks = [tfshed.KeepZeros(), tfshed.UpdatePruningStep()]
    train(model, *(callbacks if first else callbacks[::-1]), epochs=3)
    assert sum(np.count_nonzero(w) for w in kernels(model)) <= 18
    for w, zero in zip(kernels(model), zeros):
        assert not w[zero].any()
    assert len(model.optimizer.groups) == 1


@pytest.mark.backend
@pytest.mark.parametrize("first", [True, False])
def test_zeros_of_what_is_not_pruned_are_held_beside_pruning(first):
    plain = net()
    half = np.where(np.arange(24).reshape(8, 3) % 2, kernels(plain)[1], 0)
    plain.layers[1].kernel.assign(half)
    model = tfshed.prune_low_magnitude(plain, tfshed.ConstantSparsity(0.5, 0), select="hidden")
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=JIT[0])
    callbacks = [tfshed.KeepZeros(), tfshed.UpdatePruningStep()]
    state = len(model.optimizer.variables)
    for _ in range(2):
        train(model, *(callbacks if first else callbacks[::-1]))
        assert [np.count_nonzero(w) for w in kernels(model)] == [24, 12]
        assert len(model.optimizer.groups) == 1
    assert len(model.optimizer.inner_optimizer.variables) >= state
    train(model, tfshed.UpdatePruningStep())
    assert [np.count_nonzero(w) for w in kernels(model)] == [24, 24]


class BreakOff(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        raise KeyboardInterrupt


@pytest.mark.backend
def test_a_fit_that_is_broken_off_lets_go():
    model = tfshed.sparsify(net(), 0.75)
    model.compile("adam", "mse", jit_compile=JIT[0])
    optimizer = model.optimizer
    with pytest.raises(KeyboardInterrupt):
        train(model, tfshed.KeepZeros(), BreakOff())
    gc.collect()
    assert model.optimizer is optimizer
    # And if somebody still holds the callback: when the next one comes.
    held = tfshed.KeepZeros()
    with pytest.raises(KeyboardInterrupt):
        train(model, held, BreakOff())
    train(model, tfshed.KeepZeros())
    assert model.optimizer is optimizer
    assert sum(np.count_nonzero(w) for w in kernels(model)) == 18


@pytest.mark.backend
def test_frozen_kernels_need_nobody_to_hold_their_zeros():
    model = tfshed.sparsify(net(), 0.75)
    for layer in model.layers:
        layer.enable_lora(2)
    model.compile("adam", "mse", jit_compile=JIT[0])
    zeros = [to_numpy(layer._kernel) == 0 for layer in model.layers]
    train(model, tfshed.KeepZeros())
    for layer, zero in zip(model.layers, zeros):
        np.testing.assert_array_equal(to_numpy(layer._kernel) == 0, zero)
