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


WIDTH = 32
TOKENS = [np.random.default_rng(seed).integers(0, 50, (1, 4)) for seed in range(4)]


def net():
    layers = [keras.layers.Embedding(50, WIDTH, name="embedding")]
    layers += [keras.layers.Dense(WIDTH, name=name, use_bias=False) for name in ("hidden", "head")]
    return keras.Sequential([keras.Input((4,), dtype="int32"), *layers])


def quantize(model, mode):
    config = None
    if mode == "gptq":
        structure = {"pre_block_layers": model.layers[:1], "sequential_blocks": model.layers[1:]}
        config = keras.quantizers.GPTQConfig(
            dataset=TOKENS,
            tokenizer=lambda tokens: tokens,
            num_samples=len(TOKENS),
            sequence_length=4,
            group_size=-1,
            quantization_layer_structure=structure,
        )
    model.quantize(mode, config=config, filters="hidden|head")


@pytest.mark.parametrize("mode", ["int8", "int4", "gptq"])
def test_keras_own_quantisation_keeps_every_zero(mode, capfd):
    model = tfshed.sparsify(net(), 0.8, select="hidden|head", scope="layer")
    layer = model.get_layer("hidden")
    zero = layer.kernel.numpy() == 0
    quantize(model, mode)
    # What the layer gives for each input by itself is a row of the kernel that it computes with.
    computed = np.asarray(layer(np.eye(WIDTH, dtype="float32")))
    assert zero.mean() > 0.79 and not computed[zero].any()
    # A few small weights round to zero in four bits.
    assert np.count_nonzero(computed[~zero]) > 0.8 * np.count_nonzero(~zero)


@pytest.mark.parametrize("mode", ["int8", "int4", "gptq"])
def test_a_quantized_model_is_not_pruned_and_stays_as_it_is(mode, capfd):
    model = net()
    quantize(model, mode)
    before = [np.asarray(weight) for weight in model.weights]
    with pytest.raises(ValueError, match="only floating weights are pruned"):
        tfshed.sparsify(model, 0.8, select="hidden|head")
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), value)
