"""Keras' DataParallel on JAX: two devices do what one does."""

from __future__ import annotations

import numpy as np
import pytest

from tests.distribution.jax_process import ONCE, printed_by


@ONCE
@pytest.mark.slow
def test_two_devices_prune_as_one():
    found = printed_by("tests.distribution.data_parallel")
    alone, both = found["alone"], found["both"]
    assert found["replicas"] == [1, 2]
    for a, b in zip(both["weights"], alone["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert (both["masks"], both["counts"]) == (alone["masks"], alone["counts"])
    np.testing.assert_allclose(both["threshold"], alone["threshold"], rtol=1e-5)
    assert both["evaluate"] == pytest.approx(alone["evaluate"], rel=1e-5)
    assert both["history"].keys() == alone["history"].keys()
    assert "val_mae" in both["history"]
    for name, values in alone["history"].items():
        assert both["history"][name] == pytest.approx(values, rel=1e-4), name
    # The step is one program for two devices, and pruning says nothing between them.
    assert found["shared"] == [True, True, 2]
    pruned, dense = found["collectives"]
    assert pruned == dense >= 1
    assert "virtual_devices=3: expected before the first use of jax" in found["too_late"]
