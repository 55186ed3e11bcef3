"""Keras' ModelParallel on JAX: masks are spread over devices as their kernels are."""

from __future__ import annotations

import numpy as np
import pytest

from tests.distribution.jax_process import ONCE, printed_by

pytestmark = [ONCE, pytest.mark.slow]
# What one of four devices holds, where 8 x 16 and 16 x 8 are spread along their last axis.
KERNELS = [[8, 4], [16, 2]]
MASKS = {
    "single weights": KERNELS,
    "blocks": [[2, 4], [4, 2]],
    "2:4": KERNELS,
    "filters": [[16]],  # of another rank than the kernel: whole on each
    "movement": KERNELS,
}


@pytest.fixture(scope="module")
def found():
    return printed_by("tests.distribution.model_parallel")


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_where_their_kernels_are(found, name):
    parts = found[name]["parts"]
    assert parts["kernels"] == (KERNELS[:1] if name == "filters" else KERNELS)
    assert parts["masks"] == MASKS[name]
    assert parts["criterion"] == (KERNELS if name == "movement" else [])


@pytest.mark.parametrize("name", MASKS)
def test_four_devices_prune_as_one(found, name):
    alone, spread = found[name]["alone"], found[name]["spread"]
    assert (spread["masks"], spread["counts"]) == (alone["masks"], alone["counts"])
    assert any(0 in np.asarray(mask) for mask in alone["masks"])
    for a, b in zip(spread["weights"], alone["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(spread["threshold"], alone["threshold"], rtol=1e-5)
