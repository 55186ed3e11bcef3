"""Selective weight decay against plain numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import tfshed
from tests.simulator import blocks_of
from tfshed.attach.group import PruningGroup
from tfshed.attach.kernels import Kernel
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.granularity import Axes

TABLE = {0: 0.0, 1: 4.0, 2: 2.0, 3: 1.0, 4: 0.0}


def decay(weight, above, table, rate, block=(4, 1)):
    """rate * multiplier[L0] * w, block by block."""
    a, b = block
    l0 = (blocks_of(np.abs(weight), a, b) > above).sum(-1)
    factor = np.vectorize(table.get)(l0).astype("float32")
    factor = factor.repeat(a, -2).repeat(b, -1)[..., : weight.shape[-2], : weight.shape[-1]]
    return np.float32(rate) * factor * weight


def run(weights, schedule, steps=1, block=None, scope="global", **options):
    """The new weights with a gradient of zero and a rate of 1: w - decay."""
    variables = [keras.Variable(w, name=f"k{i}") for i, w in enumerate(weights)]
    kernels = [Kernel(v, Axes(len(v.shape) - 2, len(v.shape) - 1), v.name) for v in variables]
    config = PruningConfig(
        schedule=schedule,
        scope=scope,
        threshold=0.0,
        granularity=block or tfshed.Block(4, 1),
        weight_decay=tfshed.SelectiveWeightDecay(**options),
    )
    group = PruningGroup(config, kernels)
    optimizer = tfshed.PruningOptimizer(keras.optimizers.SGD(1.0), [group])
    optimizer.build(variables)
    for _ in range(steps):
        optimizer.apply([ops.zeros(v.shape) for v in variables], variables)
    return [to_numpy(v) for v in variables], group


def make(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype("float32") for s in shapes]


@pytest.mark.backend
@pytest.mark.parametrize("block", [(4, 1), (2, 2)])
def test_a_fixed_threshold(block):
    weights = make((8, 6), (2, 2, 4, 4))
    found, _ = run(
        *(weights, tfshed.OneShot(0.0)),
        block=tfshed.Block(*block),
        rate=0.1,
        threshold=0.7,
    )
    for w, new in zip(weights, found):
        np.testing.assert_allclose(new, w - decay(w, 0.7, TABLE, 0.1, block), rtol=1e-5)
        assert (new != w).any()


@pytest.mark.backend
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_quantile_of_single_weights_over_the_scope(scope):
    weights = make((8, 6), (4, 8))
    weights[1] *= 3
    # Nothing is pruned yet when the quantile is taken: 60 % of the blocks go in the same step.
    found, group = run(weights, tfshed.OneShot(0.6), rate=0.1, scope=scope)
    parts = [np.concatenate([w.ravel() for w in weights])] * 2 if scope == "global" else weights
    for i, (w, new, part) in enumerate(zip(weights, found, parts)):
        gone = part.size - round(0.4 * part.size)
        above = np.sort(np.abs(part), axis=None)[gone - 1]  # the largest that goes
        found_above = to_numpy(group.decay_threshold)[0 if scope == "global" else i]
        assert found_above == above
        want = w - decay(w, above, TABLE, 0.1)
        kept = to_numpy(group.mask_of(i))
        np.testing.assert_allclose(new, np.where(kept, want, 0), rtol=1e-5)
    assert 0 < sum(to_numpy(m).sum() for m in group.masks) < 20


@pytest.mark.backend
def test_other_multipliers():
    weights = make((6, 4))
    table = {0: 1.0, 1: 0.5, 2: 0.0}
    found, _ = run(
        *(weights, tfshed.OneShot(0.0)),
        block=tfshed.Block(2, 1),
        rate=0.1,
        threshold=0.7,
        multipliers=table,
    )
    want = weights[0] - decay(weights[0], 0.7, table, 0.1, (2, 1))
    np.testing.assert_allclose(found[0], want, rtol=1e-5)


@pytest.mark.backend
def test_a_padded_last_block_is_not_thinned_out():
    """Three weights of which all survive have lost none, and do not decay."""
    weights = [np.full((7, 1), 2.0, "float32")]
    weights[0][1] = 0.1
    block = tfshed.Block(4, 1, pad=True)
    found, _ = run(weights, tfshed.OneShot(0.0), block=block, rate=0.01, threshold=0.5)
    np.testing.assert_allclose(found[0][:4], weights[0][:4] * 0.99, rtol=1e-6)
    np.testing.assert_array_equal(found[0][4:], weights[0][4:])


@pytest.mark.backend
def test_a_fixed_threshold_holds_before_the_first_update():
    weights = make((8, 6))
    found, _ = run(weights, tfshed.OneShot(0.5, step=100), rate=0.1, threshold=0.7)
    np.testing.assert_allclose(found[0], weights[0] - decay(weights[0], 0.7, TABLE, 0.1), rtol=1e-5)


@pytest.mark.backend
def test_what_is_pruned_does_not_count_towards_l0():
    # The two blocks hold 1 and 3 weights above the threshold.
    w = np.array([[1.0], [0.1], [0.1], [0.1], [1.0], [1.0], [1.0], [0.1]], "float32")
    found, _ = run([w], tfshed.OneShot(0.0), rate=0.01, threshold=0.5)
    np.testing.assert_allclose(found[0][:4], w[:4] * 0.96, rtol=1e-5)
    np.testing.assert_allclose(found[0][4:], w[4:] * 0.99, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rate": -1}, "rate"),
        ({"rate": np.inf}, "rate"),
        ({"multipliers": {1: 1.0}}, "multipliers"),
        ({"multipliers": {0: -1.0, 1: 1.0}}, "multipliers"),
        ({"threshold": 0.0}, "threshold"),
    ],
)
def test_bad_arguments_are_named(options, named):
    with pytest.raises(ValueError, match=f"{named}: expected"):
        tfshed.SelectiveWeightDecay(**options)


def test_it_needs_blocks_of_the_size_of_its_table():
    schedule = tfshed.OneShot(0.5)
    with pytest.raises(ValueError, match="selective weight decay counts the weights of blocks"):
        PruningConfig(schedule, weight_decay=tfshed.SelectiveWeightDecay())
    with pytest.raises(ValueError, match=r"expected L0 = 0 ... 8 for blocks of 8"):
        PruningConfig(
            schedule,
            granularity=tfshed.Block(4, 2),
            weight_decay=tfshed.SelectiveWeightDecay(),
        )


def test_a_round_trip():
    decay = tfshed.SelectiveWeightDecay(0.1, {0: 1.0, 1: 2.0}, 0.3)
    config = keras.saving.serialize_keras_object(decay)
    assert keras.saving.deserialize_keras_object(config) == decay
    assert decay != tfshed.SelectiveWeightDecay(0.1, {0: 1.0, 1: 3.0}, 0.3)
