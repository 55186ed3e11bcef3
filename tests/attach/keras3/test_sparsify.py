"""Pruning at once: the masks of torch.nn.utils.prune, and numpy's."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tests.nets import kernels, net
from tfshed.attach.keras3.wrapping import ensure_pruning
from tfshed.core.backend import to_numpy


def mlp(seed=0, sizes=(20, 16, 12, 5)):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input(sizes[:1]), *(keras.layers.Dense(n) for n in sizes[1:])]
    return keras.Sequential(layers)


def smallest(weights, n):
    """Numpy's own selection, by position where magnitudes are equal."""
    flat = np.abs(np.concatenate([w.ravel() for w in weights]))
    keep = np.ones(flat.size, bool)
    keep[np.argsort(flat, kind="stable")[:n]] = False
    edges = np.cumsum([w.size for w in weights])[:-1]
    return [k.reshape(w.shape) for k, w in zip(np.split(keep, edges), weights)]


def unstructured_of_torch(weights, sparsity):
    torch = pytest.importorskip("torch")
    prune = pytest.importorskip("torch.nn.utils.prune")
    layers = []
    for w in weights:
        layer = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(w.T))
        layers.append(layer)
    prune.global_unstructured(
        [(layer, "weight") for layer in layers],
        pruning_method=prune.L1Unstructured,
        amount=sparsity,
    )
    return [layer.weight_mask.numpy().T.astype(bool) for layer in layers]


@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:nothing is left of:UserWarning")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sparsity", [0.3, 0.85, 0.99])
def test_the_global_mask_is_that_of_torch_and_numpy(seed, sparsity):
    model = mlp(seed)
    before = kernels(model)
    total = sum(w.size for w in before)
    wanted = smallest(before, total - round((1 - sparsity) * total))
    for a, b in zip(wanted, unstructured_of_torch(before, sparsity)):
        np.testing.assert_array_equal(a, b)
    assert tfshed.sparsify(model, sparsity) is model
    for w, old, mask in zip(kernels(model), before, wanted):
        np.testing.assert_array_equal(w, np.where(mask, old, 0))


@pytest.mark.backend
@pytest.mark.parametrize("sparsity", [0.3, 0.85])
def test_one_step_of_the_optimizer_makes_the_same_mask(sparsity):
    model = mlp(1)
    before = kernels(model)
    total = sum(w.size for w in before)
    wanted = smallest(before, total - round((1 - sparsity) * total))
    model = tfshed.prune_low_magnitude(model, tfshed.ConstantSparsity(sparsity, 0), scope="global")
    # With a rate of 0 the step leaves alone what it keeps.
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    optimizer = ensure_pruning(model)
    model.train_on_batch(np.ones((2, 20), "float32"), np.ones((2, 5), "float32"))
    for mask, w, old, want in zip(optimizer.groups[0].masks, kernels(model), before, wanted):
        np.testing.assert_array_equal(to_numpy(mask), want)
        np.testing.assert_array_equal(w, np.where(want, old, 0))


@pytest.mark.backend
def test_layer_by_layer():
    model = tfshed.sparsify(net(), 0.75, scope="layer")
    assert [np.count_nonzero(w) for w in kernels(model)] == [12, 6]


@pytest.mark.backend
def test_random_pruning_is_the_same_for_a_seed_and_another_for_another():
    masks = [
        [w != 0 for w in kernels(tfshed.sparsify(net(), 0.5, criterion="random", seed=s))]
        for s in (0, 0, 1)
    ]
    assert all((a == b).all() for a, b in zip(masks[0], masks[1]))
    assert not all((a == b).all() for a, b in zip(masks[0], masks[2]))
    assert sum(m.sum() for m in masks[0]) == 36


@pytest.mark.backend
def test_patterns_and_blocks():
    model = mlp(sizes=(8, 8, 4))
    tfshed.sparsify(model, 0.5, granularity=tfshed.NxM(1, 4))
    for w in kernels(model):
        kept = (w != 0).reshape(-1, 4, w.shape[-1]).sum(1)
        np.testing.assert_array_equal(kept, 1)
    model = mlp(sizes=(8, 8, 4))
    before = kernels(model)
    tfshed.sparsify(model, 0.5, granularity=tfshed.Block(4, 1))
    norms = [np.sqrt((w.reshape(-1, 4, w.shape[-1]) ** 2).sum(1)) for w in before]
    for w, keep in zip(kernels(model), smallest(norms, 12)):
        np.testing.assert_array_equal((w != 0).reshape(-1, 4, w.shape[-1]).all(1), keep)
        np.testing.assert_array_equal((w != 0).reshape(-1, 4, w.shape[-1]).any(1), keep)


@pytest.mark.backend
def test_what_was_zero_counts():
    model = net()
    tfshed.sparsify(model, 0.5)
    half = [w != 0 for w in kernels(model)]
    tfshed.sparsify(model, 0.5)
    assert all(((w != 0) == h).all() for w, h in zip(kernels(model), half))
    tfshed.sparsify(model, 0.75)
    assert sum(np.count_nonzero(w) for w in kernels(model)) == 18
    assert not any(((w != 0) & ~h).any() for w, h in zip(kernels(model), half))


@pytest.mark.backend
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    model = tfshed.sparsify(net(dtype), 0.75)
    assert sum(np.count_nonzero(w) for w in kernels(model)) == 18


def test_bad_input_is_named_and_changes_nothing():
    model = net()
    before = model.get_weights()
    with pytest.raises(ValueError, match="final_sparsity"):
        tfshed.sparsify(model, 1.0)
    with pytest.raises(TypeError, match="expected a Keras model or layer, received list"):
        tfshed.sparsify([model], 0.5)
    with pytest.raises(ValueError, match="expected a built model"):
        tfshed.sparsify(keras.Sequential([keras.layers.Dense(2)]), 0.5)
    with pytest.raises(ValueError, match="select"):
        tfshed.sparsify(model, 0.5, select="no_such_layer")
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    model.layers[0].kernel.assign(np.full((6, 8), np.nan))
    with pytest.raises(ValueError, match="received NaN or infinity in"):
        tfshed.sparsify(model, 0.5)
