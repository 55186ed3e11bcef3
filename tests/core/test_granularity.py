"""Granularities: scores, masks and back, against plain numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import tfshed
from tests import nets
from tests.simulator import blocks_of
from tfshed.core import granularity
from tfshed.core.config import PruningConfig
from tfshed.core.granularity import Axes, Balanced, Block, Filter, NxM, Unstructured
from tfshed.core.schedules import LinearDecay, OneShot
from tfshed.core.selection import smallest_per_group


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.backend
# JAX compiles each operation anew for each shape.
@settings(max_examples=8 if nets.BACKEND == "jax" else 25, deadline=None)
@given(
    lead=st.sampled_from([(), (2,), (1, 3)]),
    channels=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    size=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    pooling=st.sampled_from(["L2", "AVG", "MAX"]),
    seed=st.integers(0, 99),
    swapped=st.booleans(),
)
def test_blocks_are_numpys(lead, channels, size, pooling, seed, swapped):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(*lead, *channels)).astype("float32")
    block, rank = Block(*size, pooling=pooling, pad=True), w.ndim
    blocks = blocks_of(np.abs(w), *size)
    present = blocks_of(np.ones_like(w), *size).sum(-1)
    want = {
        "L2": np.sqrt((blocks**2).sum(-1)),
        "MAX": blocks.max(-1),
        "AVG": blocks.sum(-1) / present,
    }[pooling]
    # Transposed convolutions have their axes the other way round.
    axes = Axes(rank - 1, rank - 2) if swapped else Axes(rank - 2, rank - 1)
    turn = (lambda x: np.swapaxes(x, -1, -2)) if swapped else (lambda x: x)
    kernel = np.ascontiguousarray(turn(w))
    scores = numpy(block.magnitudes(ops.convert_to_tensor(kernel), axes))
    assert scores.shape == block.mask_shape(kernel.shape, axes)
    np.testing.assert_allclose(turn(scores), want, rtol=1e-6, atol=1e-7)
    mask = rng.random(scores.shape) < 0.5
    full = turn(numpy(block.expand(ops.convert_to_tensor(mask), kernel.shape, axes)))
    wide = turn(mask).repeat(size[0], -2).repeat(size[1], -1)
    np.testing.assert_array_equal(full, wide[..., : channels[0], : channels[1]])
    count = turn(numpy(block.total(ops.cast(kernel > 0, "int32"), axes)))
    np.testing.assert_array_equal(count, blocks_of((w > 0).astype(int), *size).sum(-1))


@pytest.mark.backend
@settings(max_examples=8, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    pooling=st.sampled_from(["L2", "AVG", "MAX"]),
    swapped=st.booleans(),
    seed=st.integers(0, 99),
)
def test_filters_are_numpys(shape, pooling, swapped, seed):
    rng = np.random.default_rng(seed)
    w, rank = rng.normal(size=shape).astype("float32"), len(shape)
    axes = Axes(rank - 1, rank - 2) if swapped else Axes(rank - 2, rank - 1)
    kind = Filter(pooling)
    filters = np.moveaxis(w, axes.output, 0).reshape(shape[axes.output], -1)
    want = {
        "L2": np.linalg.norm(filters, axis=1),
        "AVG": np.abs(filters).mean(1),
        "MAX": np.abs(filters).max(1),
    }[pooling]
    scores = numpy(kind.magnitudes(ops.convert_to_tensor(w), axes))
    assert scores.shape == kind.mask_shape(shape, axes)
    np.testing.assert_allclose(scores, want, rtol=1e-6)
    mask = rng.random(scores.shape) < 0.5
    full = numpy(kind.expand(ops.convert_to_tensor(mask), shape, axes))
    assert full.shape == tuple(shape)
    np.testing.assert_array_equal(np.moveaxis(full, axes.output, -1) & ~mask, False)
    assert full.sum() == mask.sum() * (w.size // len(mask))
    # Nothing else left: the one with the largest key stays, if it was there before.
    keys, before = rng.integers(0, 3, mask.shape).astype("int32"), rng.random(mask.shape) < 0.7
    kept = mask & before
    after = numpy(kind.with_last(*map(ops.convert_to_tensor, (kept, before, keys))))
    if kept.any() or not before.any():
        np.testing.assert_array_equal(after, kept)
    else:
        assert after.sum() == 1 and before[after] and keys[after] == keys[before].max()


def conv_net():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 4, 2)), keras.layers.Conv2D(8, 2, name="a")]
    layers += [keras.layers.Conv2D(4, 2, name="b"), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(3, name="head")])


def filters_left(model):
    kernels = [w for w in nets.kernels(model) if w.ndim == 4]
    return [int(np.count_nonzero(np.abs(w).sum((0, 1, 2)))) for w in kernels]


@pytest.mark.backend
def test_filters_of_the_lowest_l1_norm_go_in_each_layer():
    model = conv_net()
    norms = [np.abs(w).sum((0, 1, 2)) for w in nets.kernels(model)[:2]]
    tfshed.sparsify(model, 0.5, scope="layer", granularity=Filter(), select=[("head", False)])
    assert filters_left(model) == [4, 2]
    for before, w in zip(norms, nets.kernels(model)):
        after = np.abs(w).sum((0, 1, 2))
        assert before[after > 0].min() > before[after == 0].max()
    assert np.count_nonzero(nets.kernels(model)[2]) == 48


@pytest.mark.backend
@pytest.mark.parametrize("criterion", ["magnitude", "random"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_no_kernel_loses_its_last_filter(scope, criterion):
    model = conv_net()
    # Globally b would lose all, and what is left of it would lie below the threshold.
    model.get_layer("b").kernel.assign(model.get_layer("b").kernel * 1e-3)
    pruned = tfshed.prune_low_magnitude(
        model,
        tfshed.LinearDecay(0.95, end_step=3, frequency=1),
        scope=scope,
        criterion=criterion,
        granularity=Filter(),
        select=[("head", False)],
        threshold=1e-4,
    )
    pruned.compile(keras.optimizers.SGD(1e-6), "mse", jit_compile=nets.JIT[0])
    x, y = np.ones((8, 4, 4, 2), "float32"), np.ones((8, 3), "float32")
    pruned.fit(x, y, batch_size=2, epochs=1, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    assert min(filters_left(pruned)) == 1 and sum(filters_left(pruned)) == 2
    group = nets.group(pruned)
    np.testing.assert_array_equal([int(numpy(m).sum()) for m in group.masks], [1, 1])
    assert int(numpy(group.counts)[0].sum()) == 2


@pytest.mark.backend
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("pattern", "sparsity", "kept"),
    [
        (NxM(2, 4), 0.1, 2),
        (NxM(1, 4), 0.9, 1),
        (NxM(2, 4), 0.0, 4),
        (Balanced(4), 0.5, 2),
        (Balanced(4), 0.9, 1),
        (Balanced(4), 0.99, 1),
        (Balanced(4), 0.1, 4),
    ],
)
def test_groups_lie_along_the_input_channels(axis, pattern, sparsity, kept):
    shape = [3, 2, 5]
    shape[axis] = 8
    keys = np.random.default_rng(0).integers(0, 9, size=shape).astype("int32")
    axes = Axes(axis, None)
    assert pattern.reason_to_skip(shape, axes) is None
    for s in (sparsity, ops.convert_to_tensor(np.float32(sparsity))):
        n = pattern.drop_count(s)
        groups = pattern.split(ops.convert_to_tensor(keys), axes)
        gone = numpy(pattern.join(smallest_per_group(groups, n), axes))
        assert gone.shape == tuple(shape)
        left = np.moveaxis(~gone, axis, -1).reshape(-1, 4).sum(-1)
        np.testing.assert_array_equal(left, kept)
    assert (keys[gone].mean() if gone.any() else 0) <= keys.mean()


def test_what_does_not_divide_stays_dense_and_says_why():
    assert "3 input channels are no multiple of 4" in str(
        Block(4, 1).reason_to_skip((7, 7, 3, 64), Axes(2, 3))
    )
    assert Block(4, 1, pad=True).reason_to_skip((7, 7, 3, 64), Axes(2, 3)) is None
    assert "no axis of input channels" in str(Block(4, 1).reason_to_skip((9, 4), Axes(None, 1)))
    assert "no multiple of 4" in str(NxM(2, 4).reason_to_skip((6, 4), Axes(0, 1)))
    assert "no axis of input channels" in str(Balanced(4).reason_to_skip((8, 4), Axes(None, 1)))
    assert "no axis of input channels" in str(Filter().reason_to_skip((9, 4), Axes(None, 1)))
    assert Block(1, 2).reason_to_skip((9, 4), Axes(None, 1)) is None
    assert Unstructured().reason_to_skip((9, 4), Axes(None, None)) is None


@pytest.mark.parametrize(
    "kind", [Unstructured(), Block(2, 3, "MAX", True), Filter("L2"), NxM(1, 3), Balanced(8)]
)
def test_a_round_trip(kind):
    put = keras.saving.serialize_keras_object(PruningConfig(OneShot(0.5), granularity=kind))
    assert keras.saving.deserialize_keras_object(put).granularity == kind


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Block(0, 1), "Block a: expected a whole number >= 1"),
        (lambda: Block(4, 1.5), "Block b: expected a whole number >= 1"),
        (lambda: Block(4, 1, "L1"), "Block pooling: expected one of"),
        (lambda: Filter("L1"), "Filter pooling: expected one of"),
        (lambda: NxM(4, 4), "expected n < m"),
        (lambda: Balanced(1), "Balanced bank: expected a whole number >= 2"),
        (lambda: granularity.get("4by1"), "granularity: expected None, a tfshed.granularity.Gran"),
        (lambda: PruningConfig(0.5), "pruning_schedule: expected a PruningSchedule"),
        (lambda: PruningConfig(OneShot(0.5), scope="net"), "scope: expected one of"),
        (lambda: PruningConfig(OneShot(0.5), threshold=-1), "threshold: expected a finite"),
        (lambda: PruningConfig(OneShot(0.5), threshold=np.nan), "threshold: expected a finite"),
        (
            lambda: PruningConfig(OneShot(0.5), shed_every=0),
            "shed_every: expected a whole number >= 1",
        ),
        (lambda: PruningConfig(OneShot(0.5), collapse_guard=1.0), "collapse_guard: expected"),
        (
            lambda: PruningConfig(OneShot(0.5), threshold=0.1, monotone=False),
            "expected 0 with monotone=False",
        ),
        (
            lambda: PruningConfig(OneShot(0.5), grow_threshold=True, criterion="random"),
            "grow_threshold: expected False unless threshold > 0",
        ),
        (
            lambda: PruningConfig(OneShot(0.5), grow_threshold=True, granularity=NxM(2, 4)),
            "grow_threshold: expected False unless threshold > 0",
        ),
    ],
)
def test_bad_arguments_are_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_what_a_configuration_makes_of_its_defaults():
    config = PruningConfig(LinearDecay(0.8, end_step=10))
    assert (config.scope, config.threshold, config.grow_threshold) == ("global", 1e-4, True)
    config = PruningConfig(LinearDecay(0.8, end_step=10), criterion="random")
    assert (config.threshold, config.grow_threshold) == (1e-4, False)
    config = PruningConfig(LinearDecay(0.8, end_step=10), scope="layer")
    assert (config.threshold, config.grow_threshold) == (0.0, False)
    config = PruningConfig(LinearDecay(0.8, end_step=10), monotone=False)
    assert (config.threshold, config.grow_threshold, config.final_sparsity) == (0.0, False, 0.8)
