"""Criteria: the keys of magnitude and of chance."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tfshed.core import criteria, granularity
from tfshed.core.config import PruningConfig
from tfshed.core.schedules import OneShot


def context(weight, position=0, step=5, **more):
    weight = ops.convert_to_tensor(np.asarray(weight, "float32"))
    kind = granularity.Unstructured()
    return criteria.Context(weight, kind, granularity.Axes(0, 1), np.int32(step), position, **more)


def keys(seed, size, offset=0, step=5):
    found = criteria.Random(seed).scores(context(np.zeros(size), offset, step))
    return ops.convert_to_numpy(found)


@pytest.mark.backend
def test_magnitudes_are_magnitudes_for_weights_and_blocks():
    """Single weights had signed ones."""
    x = np.array([[-3.0, 0.5], [0.0, -np.inf], [-1e-45, 2.0]], "float32")
    seen = context(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(seen.magnitudes), np.abs(x))
    scores = criteria.Magnitude().scores(seen)
    found = ops.convert_to_numpy(criteria.Magnitude().keys(scores))
    np.testing.assert_array_equal(found.argsort(axis=None), [2, 4, 1, 5, 0, 3])
    block = criteria.Context(seen.weight, granularity.Block(3, 1), seen.axes, seen.step)
    assert (ops.convert_to_numpy(block.magnitudes) >= 0).all() and block.shape == (1, 2)


@pytest.mark.backend
def test_what_is_not_declared_is_not_there():
    with pytest.raises(AttributeError, match=r'expected a criterion with needs = \("gradient",\)'):
        _ = context([1.0]).gradient
    with pytest.raises(AttributeError, match=r'expected a criterion with needs = \("slots",\)'):
        _ = context([1.0]).slots


@pytest.mark.backend
def test_the_random_order_is_the_same_everywhere_and_always():
    """These are the keys of version 0.1: a run that is resumed later must meet them again."""
    assert keys(3, 4).tolist() == [222559071, 1274471628, 1435955602, 1682842551]
    assert keys(3, 12).argsort().tolist() == [0, 11, 9, 7, 1, 2, 5, 4, 3, 10, 6, 8]
    assert keys(4, 12).argsort().tolist() == [3, 8, 6, 9, 11, 10, 2, 7, 0, 5, 1, 4]
    assert keys(3, 12, step=6).argsort().tolist() == [9, 5, 10, 3, 4, 1, 2, 0, 6, 7, 8, 11]


@pytest.mark.backend
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**63),
    offset=st.integers(0, 2**30),
    step=st.integers(0, 2**30),
)
def test_random_keys_are_a_permutation(seed, offset, step):
    found = keys(seed, 500, offset, step)
    assert found.dtype == "int32" and found.min() >= 0 and len(np.unique(found)) == 500


@pytest.mark.backend
def test_the_offset_continues_where_the_kernel_before_ended():
    np.testing.assert_array_equal(keys(1, 30)[10:], keys(1, 20, offset=10))


def test_random_pruning_is_uniform_and_steps_are_independent():
    """Of 64 weights 16 go, 1000 times: each a quarter of the times, neighbours as all others."""
    n, times = 64, 1000
    for stride in (1, 100):
        gone = np.zeros((times, n), bool)
        for t in range(times):
            gone[t, keys(7, n, step=t * stride).argsort()[:16]] = True
        expected = times / 4
        # Drawn without replacement; 63 degrees of freedom: above 104 once in a thousand.
        chi_square = ((gone.sum(0) - expected) ** 2).sum() / (expected * 0.75) * (n - 1) / n
        assert 33 < chi_square < 104
        together = (gone[:, 1:] & gone[:, :-1]).mean()
        np.testing.assert_allclose(together, 0.25 * 15 / 63, atol=0.003)
        again = (gone[1:] & gone[:-1]).mean()
        np.testing.assert_allclose(again, 1 / 16, atol=0.003)


@keras.saving.register_keras_serializable(package="tests")
class LargestFirst(criteria.Criterion):
    def scores(self, context):
        return -context.magnitudes


def test_a_criterion_of_ones_own():
    from tests.nets import kernels, net
    from tfshed import sparsify

    model = net()
    before = np.concatenate([np.abs(w).ravel() for w in kernels(model)])
    sparsify(model, 0.5, criterion=LargestFirst())
    after = np.concatenate([np.abs(w).ravel() for w in kernels(model)])
    np.testing.assert_array_equal(after != 0, before <= np.sort(before)[35])
    with pytest.raises(NotImplementedError, match="must define scores"):
        criteria.Criterion().scores(None)
    with pytest.raises(NotImplementedError, match="must define observe"):
        criteria.Criterion().observe(None)


@pytest.mark.parametrize(
    "criterion",
    [
        criteria.Magnitude(),
        criteria.Random(9),
        LargestFirst(),
        criteria.Taylor(7),
        criteria.Movement(),
    ],
    ids=repr,
)
def test_a_round_trip(criterion):
    config = PruningConfig(OneShot(0.5), criterion=criterion)
    put = keras.saving.serialize_keras_object(config)
    back = keras.saving.deserialize_keras_object(put)
    assert back == config and back.criterion == criterion and back.key() == config.key()
    assert criterion != criteria.Random(10)


@pytest.mark.parametrize("bad", ["biggest", None, 3, criteria.Random])
def test_unknown_criteria_are_named(bad):
    with pytest.raises(ValueError, match="criterion: expected one of 'magnitude', 'move"):
        criteria.get(bad)


@pytest.mark.parametrize("bad", [1.5, True, None, "1"])
def test_the_seed_is_a_whole_number(bad):
    with pytest.raises(ValueError, match="seed: expected a whole number, received"):
        criteria.Random(bad)
