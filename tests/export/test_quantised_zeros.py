"""Quantisation after pruning keeps every zero, in LiteRT's files and in Keras' own models."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tests.export import pointwise_nets as nets
from tfshed import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="holds on TensorFlow only"
)


@pytest.mark.parametrize(
    ("values", "sparse_in_xnnpack"), [("float16", True), ("int8", True), ("full int8", False)]
)
def test_litert_files_keep_every_zero_and_grow_by_none(tmp_path, values, sparse_in_xnnpack):
    model = nets.pruned(nets.v1)
    zeros = {
        layer.name: float(np.mean(layer.kernel.numpy() == 0))
        for layer in model.layers
        if layer.name.startswith("point")
    }
    options = {"values": values.removeprefix("full ")}
    if values == "full int8":
        images = np.random.default_rng(0).normal(size=(4, *nets.SHAPE)).astype("float32")
        options["representative_data"] = [images]
    found = export.litert(model, tmp_path / "net.tflite", **options)
    rows = {row.name: row for row in found.rows if row.name in zeros}
    assert list(rows) == list(zeros)
    assert all(rows[name].sparsity >= share for name, share in zeros.items())
    assert {row.xnnpack == "sparse" for row in rows.values()} == {sparse_in_xnnpack}
    assert found.size <= found.dense_size


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_keras_own_quantisation_keeps_every_zero(mode):
    dense = keras.layers.Dense(32, name="hidden", use_bias=False)
    model = tfshed.sparsify(keras.Sequential([keras.Input((64,)), dense]), 0.8)
    zero = dense.kernel.numpy() == 0
    model.quantize(mode)
    # What the layer gives for each input by itself is a row of the kernel that it computes with.
    computed = np.asarray(dense(np.eye(64, dtype="float32")))
    assert zero.mean() > 0.79 and not computed[zero].any() and computed[~zero].any()
