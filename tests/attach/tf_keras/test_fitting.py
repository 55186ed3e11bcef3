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


# Where tfmot does nothing, so do we, and say it.


class Forbids(tfshed.PruningPolicy):
    def allow_pruning(self, layer):
        return False


def test_declaring_twice_keeps_the_first_declaration_and_says_so():
    model = prune(net(), HALF)
    other = tfshed.ConstantSparsity(0.9, 0)
    with pytest.warns(UserWarning, match="was declared by prune_low_magnitude before"):
        assert prune(model, other) is model
    with pytest.warns(UserWarning, match="the new one is ignored. Wrap its `layer`"):
        assert prune(model.layers[0], other) is model.layers[0]
    assert model.layers[0].config.schedule is HALF


def test_a_policy_that_leaves_nothing():
    with pytest.warns(UserWarning, match="nothing of .* is to be pruned: .*policy Forbids"):
        model = prune(net(), HALF, pruning_policy=Forbids())
    assert not any(isinstance(layer, tfmot.PruneLowMagnitude) for layer in model.layers)


def test_a_sequential_model_that_is_not_built():
    model = prune(tf_keras.Sequential([L.Dense(8), L.ReLU(), L.Dense(3)]), HALF)
    fit(model, epochs=1, run_eagerly=True)
    kernels = [model.layers[i].layer.kernel.numpy() for i in (0, 2)]
    assert [np.count_nonzero(k) / k.size for k in kernels] == [0.5, 0.5]
    check_zeros(model)


def test_files_with_bare_numbers_are_read():
    layer = L.LSTM(4, name="lstm")
    layer.build((None, 3, 8))
    wrapper = prune(layer, HALF, select="recurrent_kernel")
    config = wrapper.get_config()
    (entry,) = config["kernels"]
    assert (entry["number"], entry["shape"]) == (1, [4, 16])
    for kernels in ([entry], [1]):
        again = tfmot.PruneLowMagnitude.from_config({**config, "kernels": kernels})
        again.build((None, 3, 8))
        assert [k.path.split("/")[-1] for k in again.chosen_kernels()] == ["recurrent_kernel"]
