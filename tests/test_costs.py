"""What pruning costs, in counts and not in times: passes over the weights, traces, bytes.

That replicas send nothing for pruning is tested beside the strategies, in tests/attach/tf_keras and
tests/distribution.
"""

from __future__ import annotations

from unittest import mock

import keras
import numpy as np
import pytest
from keras import ops

import tfshed
from tests.nets import BACKEND, JIT, data, net, schedule
from tfshed.core import backend, engine, selection

pytestmark = [pytest.mark.slow, pytest.mark.backend]


@pytest.mark.parametrize("share", [0.05, 0.5, 0.85, 0.99])
def test_the_search_in_millions_of_weights_takes_few_passes(share):
    keys = backend.bits(np.random.default_rng(0).standard_normal((2000, 1000), dtype="float32"))
    with mock.patch.object(selection, "count", wraps=selection.count) as passes:
        selection.boundary_key([keys], [0], np.array([int(share * 2e6)], "int32"))
    assert passes.call_count <= 11


@pytest.mark.parametrize("jit", JIT)
def test_pruning_is_traced_once_in_a_fit(jit):
    if BACKEND == "torch":
        pytest.skip("PyTorch traces nothing")
    model = tfshed.prune_low_magnitude(net(), schedule(), scope="global", threshold=0.0)
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=jit)
    x, y = data(64)
    with mock.patch.object(engine, "update", wraps=engine.update) as traces:
        model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    # JAX traces a step a second time where the layout of its state changes after the first one.
    assert 1 <= traces.call_count <= (2 if BACKEND == "jax" else 1)


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX tells what a compiled function takes")
@pytest.mark.parametrize(
    ("function", "most"),
    [
        (lambda k, n: backend.count_true(k <= n[0]), 1.1),
        (lambda k, n: selection.smallest([k], [0], n)[0], 4.1),
    ],
    ids=["count", "selection"],
)
def test_bytes_of_temporary_memory_for_each_weight(function, most):
    import jax

    keys = jax.ShapeDtypeStruct((1000, 1024), "int32")
    plan = jax.jit(function).lower(keys, jax.ShapeDtypeStruct((1,), "int32")).compile()
    assert plan.memory_analysis().temp_size_in_bytes <= most * 1000 * 1024


def test_few_keys_are_sorted_and_many_are_searched():
    few, many = np.arange(8192, dtype="int32"), np.arange(8193, dtype="int32")
    with (
        mock.patch.object(selection, "ON_HOST", False),
        mock.patch.object(selection, "boundary_key", wraps=selection.boundary_key) as search,
    ):
        for keys, searches in ((few, 0), (many, 1)):
            [mask] = selection.smallest([ops.convert_to_tensor(keys)], [0], [3])
            assert ops.convert_to_numpy(mask).sum() == 3 and search.call_count == searches
