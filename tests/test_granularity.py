"""Granularities: scores, masks and back, against plain numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests.simulator import blocks_of
from tfshed import granularity
from tfshed.config import PruningConfig
from tfshed.granularity import Axes, Balanced, Block, NxM, Unstructured
from tfshed.schedules import LinearDecay, OneShot
from tfshed.selection import smallest_per_group


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.backend
@settings(max_examples=25, deadline=None)
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
    scores = numpy(block.scores(ops.convert_to_tensor(kernel), axes))
    assert scores.shape == block.mask_shape(kernel.shape, axes)
    np.testing.assert_allclose(turn(scores), want, rtol=1e-6, atol=1e-7)
    mask = rng.random(scores.shape) < 0.5
    full = turn(numpy(block.spread(ops.convert_to_tensor(mask), kernel.shape, axes)))
    wide = turn(mask).repeat(size[0], -2).repeat(size[1], -1)
    np.testing.assert_array_equal(full, wide[..., : channels[0], : channels[1]])
    count = turn(numpy(block.count_in_block(ops.convert_to_tensor(kernel > 0), axes)))
    np.testing.assert_array_equal(count, blocks_of((w > 0).astype(int), *size).sum(-1))


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
    assert Block(1, 2).reason_to_skip((9, 4), Axes(None, 1)) is None
    assert Unstructured().reason_to_skip((9, 4), Axes(None, None)) is None


@pytest.mark.parametrize("kind", [Unstructured(), Block(2, 3, "MAX", True), NxM(1, 3), Balanced(8)])
def test_a_round_trip(kind):
    put = keras.saving.serialize_keras_object(PruningConfig(OneShot(0.5), granularity=kind))
    assert keras.saving.deserialize_keras_object(put).granularity == kind


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Block(0, 1), "Block a: expected an int >= 1"),
        (lambda: Block(4, 1.5), "Block b: expected an int >= 1"),
        (lambda: Block(4, 1, "L1"), "Block pooling: expected one of"),
        (lambda: NxM(4, 4), "expected n < m"),
        (lambda: Balanced(1), "expected an int >= 2"),
        (lambda: granularity.get("4x1"), "granularity: expected None, Block"),
        (lambda: PruningConfig(0.5), "pruning_schedule: expected a PruningSchedule"),
        (lambda: PruningConfig(OneShot(0.5), scope="net"), "scope: expected one of"),
        (lambda: PruningConfig(OneShot(0.5), threshold=-1), "threshold: expected a finite"),
        (lambda: PruningConfig(OneShot(0.5), threshold=np.nan), "threshold: expected a finite"),
        (lambda: PruningConfig(OneShot(0.5), shed_every=0), "shed_every: expected an int"),
        (lambda: PruningConfig(OneShot(0.5), collapse_guard=1.0), "collapse_guard: expected"),
        (
            lambda: PruningConfig(OneShot(0.5), threshold=0.1, monotone=False),
            "expected 0 with monotone=False",
        ),
        (
            lambda: PruningConfig(OneShot(0.5), grow_threshold=True, criterion="random"),
            "grow_threshold: expected False here",
        ),
        (
            lambda: PruningConfig(OneShot(0.5), grow_threshold=True, granularity=NxM(2, 4)),
            "grow_threshold: expected False here",
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
