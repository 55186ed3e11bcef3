"""Models of many kinds as LiteRT: they work, or an error says why and what to do."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tfshed import export
from tfshed.export.litert import flatbuffer, interpreter

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="holds on TensorFlow only"
)
L = keras.layers


def stack(*layers, shape=(64,)):
    return keras.Sequential([keras.Input(shape, name="x"), *layers])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_int8_of_weights_that_are_not_finite_is_an_error_not_a_crash(tmp_path, bad):
    model = stack(L.Dense(64, name="hidden"), L.Dense(4))
    kernel = model.layers[0].kernel.numpy()
    kernel[3, 5] = bad
    model.layers[0].kernel.assign(kernel)
    with pytest.raises(ValueError, match=r"finite weights for values='int8'.*hidden/kernel"):
        export.litert(model, tmp_path / "net.tflite", values="int8")
    assert not any(tmp_path.iterdir())


def image_net(first):
    last = (L.Conv2D(32, 3), L.GlobalAveragePooling2D(), L.Dense(10))
    return stack(first, L.ReLU(), *last, shape=(8, 8, 8))


def transposed():
    return image_net(L.Conv2DTranspose(32, 3))


def separable():
    return image_net(L.SeparableConv2D(32, 3))


def grouped():
    return image_net(L.Conv2D(32, 3, groups=4))


def lookup():
    words = keras.Input((4,), dtype="string", name="words")
    numbers = L.StringLookup(vocabulary=[f"w{i}" for i in range(50)])(words)
    x = L.Dense(64, activation="relu")(L.Flatten()(L.Embedding(51, 32)(numbers)))
    return keras.Model(words, L.Dense(10)(x))


@pytest.mark.parametrize("values", ["float16", "int8"])
@pytest.mark.parametrize("make", [transposed, separable, grouped, lookup])
def test_values_of_unusual_nets(tmp_path, make, values):
    model = tfshed.sparsify(make(), 0.85, scope="layer")
    found = export.litert(model, tmp_path / "net.tflite", values=values)
    assert found.size <= found.dense_size and found.difference <= 0.2


def test_only_what_would_run_wrong_is_stored_in_full(tmp_path):
    model = tfshed.sparsify(transposed(), 0.85, scope="layer")
    found = export.litert(model, tmp_path / "net.tflite", values="float16")
    assert [(row.op, row.runs) for row in found.rows] == [
        ("TRANSPOSE_CONV", "dense"),
        ("CONV_2D", "densified"),
        ("FULLY_CONNECTED", "densified"),
    ]


@pytest.mark.parametrize("layer", [L.LSTM, L.GRU])
def test_the_advice_for_recurrent_layers_works(tmp_path, layer, capfd):
    model = stack(layer(8), L.Dense(4), shape=(12, 3))
    with pytest.raises(RuntimeError, match="fixed batch") as error:
        export.litert(model, tmp_path / "net.tflite")
    text = str(error.value)
    advice = text[text.index("input_signature=") : text.index("]", text.index("input_sig")) + 1]
    assert advice == "input_signature=[keras.InputSpec(shape=(1, 12, 3), dtype='float32')]"
    signature = eval(advice.partition("=")[2], {"keras": keras})
    found = export.litert(model, tmp_path / "net.tflite", input_signature=signature)
    assert found.difference < 1e-4


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision_is_named_with_what_to_do(tmp_path, policy):
    model = stack(L.Dense(32, dtype=policy, name="half"), L.Dense(4, dtype="float32"))
    with pytest.raises(ValueError, match=r"received 'half', which computes in .*set_weights"):
        export.litert(model, tmp_path / "net.tflite")
    again = stack(L.Dense(32, name="half"), L.Dense(4))
    again.set_weights(model.get_weights())
    assert export.litert(again, tmp_path / "net.tflite", values="float16").difference < 0.01


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantized_models_are_named_with_what_to_do(tmp_path, mode):
    model = stack(L.Dense(64, name="hidden"), L.Dense(32))
    model.quantize(mode)
    with pytest.raises(ValueError, match=rf"'hidden', quantized by model.quantize\('{mode}'\)"):
        export.litert(model, tmp_path / "net.tflite", values="float16")


def test_text_is_named_with_what_to_do(tmp_path, capfd):
    split = L.TextVectorization(max_tokens=20, output_sequence_length=6)
    split.adapt(["a b c d", "e f g"])
    text = keras.Input((), dtype="string")
    model = keras.Model(text, L.GlobalAveragePooling1D()(L.Embedding(20, 16)(split(text))))
    with pytest.raises(RuntimeError, match=r"tf.StringLower.*follows TextVectorization"):
        export.litert(model, tmp_path / "net.tflite")


def pooled(batch):
    """The end that `PruneForLatencyOnXNNPack` lets be: a 1x1 convolution behind the pooling."""
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(16, 3, strides=2, activation="relu")(L.ZeroPadding2D(1)(inputs))
    x = L.Conv2D(32, 1, activation="relu", name="body")(x)
    x = L.GlobalAveragePooling2D(keepdims=True)(x)
    model = keras.Model(inputs, L.Conv2D(10, 1, name="head")(x))
    signature = [keras.InputSpec(shape=(batch, 8, 8, 3), dtype="float32")]
    return tfshed.sparsify(model, 0.85, select="body|head", scope="layer"), signature


@pytest.mark.parametrize("values", ["float32", "float16"])
@pytest.mark.parametrize("batch", [1, None])
def test_xnnpacks_sparse_part_ends_at_the_pooling(tmp_path, batch, values):
    model, signature = pooled(batch)
    path = tmp_path / "net.tflite"
    found = export.litert(model, path, values=values, input_signature=signature)
    file = flatbuffer.parse(path.read_bytes())
    (graph,) = file.subgraphs
    kinds = [flatbuffer.kind(file, operator) for operator in graph.operators]
    end = [name for name in kinds[kinds.index("MEAN") :] if name not in flatbuffer.UNPACKING]
    assert end[:3] == ["MEAN", "RESHAPE", "CONV_2D"]
    assert found.difference < 1e-3
    # The next batch has another size than the one that was compared.
    if batch is None:
        x = np.random.default_rng(0).standard_normal((5, 8, 8, 3)).astype("float32")
        received = interpreter.interpreter(path.read_bytes())
        received = received.get_signature_runner("serving_default")(input_0=x)["output_0"]
        np.testing.assert_allclose(received, model(x), rtol=0.01, atol=0.01)


def test_the_report_knows_that_the_head_runs_dense():
    model, _ = pooled(None)
    head = next(row for row in export.report(model, formats=()).kernels if "head" in row.path)
    (verdict,) = (v for v in head.runtimes if "XNNPACK" in v.runtime)
    assert not verdict.faster and "follows the global pooling" in verdict.reason
