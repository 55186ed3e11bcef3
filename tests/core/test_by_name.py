"""A criterion, a schedule and granularities of a user's own, in a few lines each, by name."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

import tfshed
from tests import nets

save = keras.saving.register_keras_serializable(package="tests")


@tfshed.criteria.register("tests_largest")
@save
class Largest(tfshed.criteria.Criterion):
    def scores(self, context):
        return -context.magnitudes


@tfshed.schedules.register("tests_at_once")
@save
class AtOnce(tfshed.PruningSchedule):
    def __init__(self, sparsity):
        self.sparsity = sparsity

    def __call__(self, step):
        return step == 1, self.sparsity

    def get_config(self):
        return {"sparsity": self.sparsity}


@tfshed.granularity.register("tests_alternate")
@save
@dataclasses.dataclass(frozen=True)
class Alternate(tfshed.granularity.Grouped):
    """Half of every `size` adjacent input channels."""

    size: int = 2

    def drop_count(self, sparsity):
        return self.size // 2


@tfshed.granularity.register("tests_rows")
@save
@dataclasses.dataclass(frozen=True)
class Rows(tfshed.granularity.Granularity):
    def mask_shape(self, shape, axes):
        return (shape[0],)

    def magnitudes(self, weight, axes):
        return ops.max(ops.abs(ops.cast(weight, "float32")), axis=1)

    def total(self, values, axes):
        return ops.sum(values, axis=1)

    def expand(self, mask, shape, axes):
        return ops.broadcast_to(ops.expand_dims(mask, 1), tuple(shape))


def train(**options):
    """Two steps of so small a rate that the weights stay what they were."""
    model = tfshed.prune_low_magnitude(
        nets.net(), {"name": "tests_at_once", "sparsity": 0.5}, threshold=0.0, **options
    )
    model.compile(keras.optimizers.SGD(1e-9), "mse", jit_compile=nets.JIT[0])
    before = nets.kernels(model)
    x, y = nets.data(32)
    model.fit(x, y, batch_size=16, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    return before, nets.kernels(model), model


@pytest.mark.backend
def test_all_by_name():
    before, after, model = train(criterion="tests_largest", granularity="tests_alternate2")
    assert nets.group(model).config.granularity == Alternate(2)
    for old, new in zip(before, after):
        pairs, kept = (
            np.abs(old).reshape(-1, 2, old.shape[1]),
            (new != 0).reshape(-1, 2, old.shape[1]),
        )
        np.testing.assert_array_equal(kept[:, 0], pairs[:, 0] < pairs[:, 1])
        assert (kept.sum(1) == 1).all()


@pytest.mark.backend
@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "movement"])
def test_a_granularity_that_ranks_the_scope(criterion):
    _, after, model = train(criterion=criterion, granularity="tests_rows")
    rows = [(w != 0).any(axis=1) for w in after]
    assert sum(r.sum() for r in rows) == 7 and all((w[r] != 0).all() for w, r in zip(after, rows))


def test_known_texts():
    get = tfshed.granularity.get
    assert get("4x1") == get("block4x1") == tfshed.Block(4, 1)
    assert get("2:4") == tfshed.NxM(2, 4) and get("balanced8") == tfshed.Balanced(8)
    assert get("filter") == tfshed.Filter() and get("unstructured") == tfshed.Unstructured()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"granularity": "fliter"}, "granularity: expected one of .* Did you mean 'filter'"),
        ({"granularity": "4"}, "granularity: expected None, a tfshed"),
        ({"granularity": "4x1x1x1x1"}, "granularity: expected None, a tfshed"),
        ({"granularity": "4:2"}, "NxM: expected n < m"),
        ({"criterion": "magnitud"}, "criterion: expected one of .* Did you mean 'magnitude'"),
        ({"pruning_schedule": {"name": "lineal"}}, "Did you mean 'linear'"),
        ({"pruning_schedule": "constant"}, "expected the arguments of 'constant'"),
        ({"pruning_schedule": {"name": "one_shot", "sparsity": 1}}, "expected the arguments of"),
    ],
)
def test_what_is_unknown_is_named(options, named):
    with pytest.raises(ValueError, match=named):
        tfshed.prune_low_magnitude(nets.net(), **options)
