"""What LoRA and quantisation make of pruned kernels, and what is told of it."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers as L

import tfshed
from tests.nets import array

HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)


def net():
    layers = [keras.Input((8,)), L.Dense(8, name="hidden"), L.Dense(2, name="head")]
    return keras.Sequential(layers, name="net")


@pytest.mark.backend
def test_lora_that_is_merged_into_pruned_kernels_when_saved_is_told(tmp_path):
    plain = tfshed.sparsify(net(), 0.5, scope="layer")
    model = tfshed.prune_low_magnitude(plain, HALF)
    hidden = plain.layers[0]
    hidden.enable_lora(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        # Not trained yet, it adds nothing.
        model.save(tmp_path / "m.keras")
    hidden.lora_kernel_b.assign(np.ones((2, 8), "float32"))
    with pytest.warns(UserWarning, match="net/hidden/kernel is saved with LoRA merged into it"):
        model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="dense"):
        model.save_weights(tmp_path / "m.weights.h5")
    assert np.count_nonzero(array(hidden._kernel)) == 32


@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have:UserWarning")
def test_the_summary_counts_int4_weights_and_not_their_bytes():
    model = tfshed.sparsify(net(), 0.75, scope="layer")
    before = tfshed.summary(model, print_fn=str)
    model.quantize("int4")
    after = tfshed.summary(model, print_fn=str)
    rows = {row.path: row for row in after.rows}
    row = rows["net/hidden/kernel"]
    assert (row.weights, before.rows[0].weights) == (64, 64)
    assert row.nonzero <= before.rows[0].nonzero == 16
    assert row.sparsity >= 0.75
    assert "int4, two weights in each element" in row.reason
