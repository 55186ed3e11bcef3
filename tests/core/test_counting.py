"""How many a sparsity leaves, against Python's exact numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests.simulator import target_count as exact
from tfshed.attach.decisions import check_countable
from tfshed.attach.group import PruningGroup
from tfshed.attach.kernels import Kernel
from tfshed.core.config import PruningConfig
from tfshed.core.counting import target_count
from tfshed.core.granularity import Axes
from tfshed.core.schedules import OneShot

TOTALS = st.one_of(st.integers(1, 100), st.integers(1, 2**31 - 1), st.integers(2**24, 2**25))


@pytest.mark.backend
@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.lists(TOTALS, min_size=1, max_size=3))
def test_the_count_is_exact_and_never_none(sparsity, totals):
    sparsity = np.float32(sparsity)
    if sparsity == 1:
        return
    got = ops.convert_to_numpy(target_count(ops.convert_to_tensor(sparsity), np.array(totals)))
    assert got.dtype == "int32" and got.tolist() == [exact(sparsity, t) for t in totals]


@pytest.mark.backend
@pytest.mark.parametrize("total", [5, 7, 2**24 + 1, 2**30 + 1, 2**31 - 1])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.25, 0.85, 1 - 2**-24])
def test_halves_go_to_the_even_number(total, sparsity):
    got = ops.convert_to_numpy(target_count(sparsity, np.array([total])))
    assert got.tolist() == [exact(sparsity, total)]


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_more_than_int32_can_count_is_refused(scope):
    """Two kernels of 2^30 weights are one too many together, not each by itself."""
    kernel = Kernel(SimpleNamespace(shape=(2**15, 2**15)), Axes(0, 1), "k")
    config = PruningConfig(OneShot(0.5), scope=scope)
    if scope == "layer":
        assert PruningGroup(config, [kernel] * 2).totals.tolist() == [2**30] * 2
        return
    decision = SimpleNamespace(pruned=True, kernel=kernel)
    for refuse in (PruningGroup, lambda config, kernels: check_countable([decision] * 2, config)):
        with pytest.raises(ValueError, match="at most 2147483647 elements of Unstructured"):
            refuse(config, [kernel] * 2)
