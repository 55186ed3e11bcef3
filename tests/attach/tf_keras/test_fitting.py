"""tf_keras: granularities that fit nothing are told, and tfmot's names on a wrapper work."""

from __future__ import annotations

import numpy as np
import pytest

import tfshed
from tests.attach.tf_keras.nets import L, check_zeros, data, fit, keep, net, prune, tf_keras
from tfshed import tfmot

HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)


def test_n_by_m_that_fits_no_kernel_is_an_error_with_the_reason():
    # 6 and 5 input channels have no groups of 4.
    layers = [L.Dense(5), L.Dense(3)]
    model = tf_keras.Sequential(prune(layers, HALF, sparsity_m_by_n=(2, 4)))
    with pytest.raises(ValueError, match="found none: .*kernel: 6 input channels are no multiple"):
        model.compile("sgd", "mse", run_eagerly=True)
        model.fit(*data(), verbose=0, callbacks=[tfmot.UpdatePruningStep()])
    built = L.Dense(3)
    built.build((None, 6))
    with pytest.raises(ValueError, match=r"fits NxM\(.*dense.*: .*no multiple"):
        prune(built, HALF, sparsity_m_by_n=(2, 4))


def test_kernels_that_do_not_fit_beside_others_that_do_are_told():
    layers = [L.Dense(8, name="odd"), L.Dense(3, name="even")]
    model = tf_keras.Sequential(prune(layers, HALF, sparsity_m_by_n=(2, 4)))
    with pytest.warns(UserWarning, match="not pruned: .*odd/kernel.*: 6 input channels"):
        fit(model, epochs=1, run_eagerly=True)
    assert np.count_nonzero(model.layers[1].layer.kernel) == 12


def test_a_model_whose_wrapped_layers_are_all_frozen_is_told_and_pruned_when_thawed():
    model = prune(net(), HALF, threshold=0.0)
    for layer in model.layers:
        layer.trainable = False
    with pytest.warns(UserWarning, match="nothing is pruned: the wrapped layers .* not trainable"):
        fit(model, epochs=1, run_eagerly=True)
    assert keep(model) == 1.0
    for layer in model.layers:
        layer.trainable = True
    fit(model, epochs=1, run_eagerly=True)
    assert keep(model) == 0.5


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_conditional_mask_update_makes_masks_when_the_schedule_is_due(scope):
    # Due in step 4 and not before.
    model = prune(net(), tfshed.OneShot(0.5, step=4), scope=scope, threshold=0.0)
    model.compile(tf_keras.optimizers.SGD(0.0), "mse")
    tfmot.bind(model)
    first, second = tfmot.collect_prunable_layers(model)
    first.pruning_obj.conditional_mask_update()
    assert keep(model) == 1.0
    for wrapper in (first, second):
        wrapper.pruning_step.assign(4)
    first.pruning_obj.conditional_mask_update()
    second.pruning_obj.conditional_mask_update()
    check_zeros(model)
    assert keep(model) == 0.5
    # Once more, it changes nothing.
    before = [w.copy() for w in model.get_weights()]
    first.pruning_obj.conditional_mask_update()
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_conditional_mask_update_without_an_optimizer():
    def alone(scope):
        wrapper = prune(L.Dense(4, input_shape=(8,)), HALF, scope=scope, threshold=0.0)
        model = tf_keras.Sequential([wrapper])
        wrapper.pruning_step.assign(2)
        return model, wrapper

    model, wrapper = alone("layer")
    wrapper.pruning_obj.conditional_mask_update()
    assert keep(model) == 0.5
    _, wrapper = alone("global")
    with pytest.raises(RuntimeError, match=r"ranks the kernels of all layers.*tfmot.bind\(model\)"):
        wrapper.pruning_obj.conditional_mask_update()


def test_tfmots_attributes_of_a_wrapper():
    layer = L.Dense(4, input_shape=(8,))
    wrapper = prune(layer, HALF, block_size=(4, 1), block_pooling_type="MAX")
    assert wrapper.pruning_schedule is HALF
    assert (wrapper.block_size, wrapper.block_pooling_type) == ((4, 1), "MAX")
    assert wrapper.sparsity_m_by_n is None
    assert prune(L.Dense(4), HALF, sparsity_m_by_n=(3, 4)).sparsity_m_by_n == (3, 4)
    tf_keras.Sequential([wrapper])
    assert [w.name for w in layer.get_prunable_weights()] == [layer.kernel.name]
    assert wrapper.prunable_weights == [layer.kernel]
    x, _ = data(8)
    assert wrapper(x).shape == (64, 4)
