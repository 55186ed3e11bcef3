"""Keras' ModelParallel on JAX: masks are spread over devices as their kernels are."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.nets import BACKEND

pytestmark = [
    pytest.mark.skipif(
        BACKEND != "tensorflow" or importlib.util.find_spec("jax") is None,
        reason="once is enough, where JAX is",
    ),
    pytest.mark.slow,
]
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
    """In a process of its own: a JAX that runs cannot be given more devices."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.distribution.model_parallel"],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


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
