"""tfshed.export.litert: which weights stay sparse, whether files run, and what is refused."""

from __future__ import annotations

import os
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfshed
from tests.nets import array, normal
from tfshed import export
from tfshed.export.litert import flatbuffer, interpreter
from tfshed.export.litert.converter_bugs import mend_file

BACKEND = keras.backend.backend()
needs_converter = pytest.mark.skipif(BACKEND == "torch", reason="no SavedModel on this backend")
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend is enough")
NAMES = ("conv", "point", "deep", "quads", "wide", "single", "head")


def net():
    """Kernels whose zeros come singly, in blocks of 4 and of 16 inputs; the head stays float32."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 4), name="image"),
            layers.Conv2D(64, 3, padding="same", name="conv"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(64, 1, name="point"),
            layers.DepthwiseConv2D(3, name="deep"),
            layers.Flatten(),
            layers.Dense(64, activation="relu", name="quads"),
            layers.Dense(64, activation="relu", name="wide"),
            layers.Dense(64, activation="relu", name="single"),
            layers.Dropout(0.5),
            layers.Dense(5, name="head"),
        ],
        name="net",
    )
    for select, granularity in (
        ("conv|point|single", None),
        ("quads", tfshed.Block(4, 1)),
        ("head", tfshed.Block(4, 1)),
        ("wide", tfshed.Block(16, 1)),
    ):
        tfshed.sparsify(model, 0.8, select=select, granularity=granularity, scope="layer")
    return model


def images(batch=3, seed=1):
    return normal(batch, 6, 6, 4, seed=seed)


def outputs(path, **inputs):
    file = interpreter.interpreter(path.read_bytes())
    return file.get_signature_runner("serving_default")(**inputs)


@on_tensorflow
def test_float32_is_the_model_and_says_how_each_layer_runs(tmp_path):
    model = net()
    before = model.get_weights()
    path = tmp_path / "deep" / "net.tflite"
    found = export.litert(model, path)
    assert os.fspath(found) == str(path) and found.size == path.stat().st_size
    assert found.difference < 1e-5
    runs = {row.name: row.runs for row in found.rows}
    assert runs == dict(
        zip(NAMES, [*["densified"] * 2, "dense", *["1x4 blocks"] * 2, "densified", "1x4 blocks"])
    )
    # XNNPACK leaves version 8 alone, runs the others, and would take blocks for all weights.
    file = flatbuffer.parse(path.read_bytes())
    for use in flatbuffer.weight_uses(file):
        version = file.operatorCodes[use.operator.opcodeIndex].version
        if use.op == "FULLY_CONNECTED":
            assert (version == 8) == (not use.unpacking)
    by_name = {row.name: row for row in found.rows}
    assert by_name["quads"].sparsity == pytest.approx(0.8, abs=0.01)
    assert by_name["quads"].size < 0.25 * 4 * 1024 * 64
    for batch in (1, 5):
        expected = array(model(images(batch), training=False))
        received = outputs(path, image=images(batch))["output_0"]
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    dense = export.litert(model, tmp_path / "dense.tflite", sparse=False)
    assert dense.size == found.dense_size and found.size < 0.35 * dense.size
    assert {row.runs for row in dense.rows} == {"dense"}
    assert "1x4 kernel" in str(found) and "1x4 kernel" not in str(dense)
    assert found.to_dict()["rows"][0]["shape"] == [64, 3, 3, 4]
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.backend
@needs_converter
def test_blocks_on_every_backend_that_can(tmp_path):
    layers = [keras.layers.Dense(32, name="quads", activation="relu"), keras.layers.Dense(32)]
    model = keras.Sequential([keras.Input((32,)), *layers])
    tfshed.sparsify(model, 0.8, select="quads", granularity=tfshed.Block(4, 1))
    found = export.litert(model, tmp_path / "net.tflite")
    assert [(row.name, row.runs) for row in found.rows] == [
        ("quads", "1x4 blocks"),
        (layers[1].name, "dense"),
    ]
    x = normal(5, 32)
    received = outputs(tmp_path / "net.tflite", input_0=x)["output_0"]
    np.testing.assert_allclose(received, array(model(x, training=False)), atol=1e-5)


QUANTISED = {
    "float16": ({"values": "float16"}, ["densified"] * 4, 1e-2),
    "int8": (
        {"values": "int8"},
        ["densified", "1x16 blocks", "densified", "1x4 blocks"],
        5e-2,
    ),
    "full int8": (
        {"values": "int8", "data": True},
        ["dense", "1x16 blocks", "dense", "dense"],
        0.3,
    ),
}


@on_tensorflow
@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_and_sparse_together(tmp_path, kind):
    options, dense_layers, bound = QUANTISED[kind]
    options = dict(options)
    if options.pop("data", False):
        options["representative_data"] = [images(8, seed) for seed in range(3)]
    model = net()
    found = export.litert(model, tmp_path / "net.tflite", **options)
    runs = {row.name: row.runs for row in found.rows}
    assert [runs[name] for name in ("quads", "wide", "single", "head")] == dense_layers
    assert runs["point"] == runs["conv"] == "densified"
    assert found.difference < bound
    # Notes on speed: each goes with what is in the table.
    assert ("23 times at 64" in str(found)) == (kind == "full int8")
    assert ("1.5 at 8" in str(found)) == (kind == "int8")
    stored = {row.name: row.size / np.prod(row.shape) for row in found.rows}
    assert stored["wide"] < (0.8 if kind == "float16" else 0.35 if "full" in kind else 0.6)
    dtype = "float16" if kind == "float16" else "int8"
    # Kernels with fewer than 1024 weights stay float32 unless activations are int8 too.
    assert {row.dtype for row in found.rows if row.name in ("quads", "wide", "single")} == {dtype}
    # Every interpreter that is here runs it as it starts by default.
    inputs = {"image": images(8, 0)}
    expected = interpreter.expected_outputs(model, [None], inputs)["output_0"]
    for made in interpreters((tmp_path / "net.tflite").read_bytes()):
        received = made.get_signature_runner("serving_default")(**inputs)["output_0"]
        assert np.abs(received - expected).max() < bound * np.abs(expected).max()


def interpreters(content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [tf.lite.Interpreter(model_content=content), interpreter.interpreter(content)]


@on_tensorflow
@pytest.mark.parametrize("values", ["float16", "int8"])
def test_what_is_not_repaired_is_stored_in_full(tmp_path, monkeypatch, values, caplog):
    monkeypatch.setattr(
        sys.modules["tfshed.export.litert.export_litert"], "mend_file", lambda content: content
    )
    with caplog.at_level("WARNING", logger="tfshed"):
        found = export.litert(net(), tmp_path / "net.tflite", values=values)
    assert "stored in full" in caplog.text and "does not give the model's outputs" in caplog.text
    assert any("interpreters would give other outputs" in row.reason for row in found.rows)


@on_tensorflow
def test_float32_files_are_the_converters_own_and_run_without_ai_edge(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((16,), name="x"), keras.layers.Dense(16)])
    export.litert(tfshed.sparsify(model, 0.8), tmp_path / "net.tflite")
    content = (tmp_path / "net.tflite").read_bytes()
    assert mend_file(content) == content
    (use,) = flatbuffer.weight_uses(flatbuffer.parse(content))
    assert (use.op, use.block, use.unpacking) == ("FULLY_CONNECTED", 1, ("DENSIFY",))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert type(interpreter.interpreter(content)).__module__.startswith("tensorflow.")
    assert outputs(tmp_path / "net.tflite", x=normal(2, 16))["output_0"].shape == (2, 16)


@on_tensorflow
def test_a_file_is_never_larger_for_zeros_that_nothing_skips(tmp_path):
    """In a layer this small the places of non-zeros take more than the zeros."""
    layers = [keras.layers.Conv2D(8, 3, name="conv"), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((4, 4, 3)), *layers, keras.layers.Dense(5)])
    model = tfshed.sparsify(model, 0.4, select="conv")
    found = export.litert(model, tmp_path / "net.tflite")
    assert found.size == found.dense_size
    row = next(row for row in found.rows if row.name == "conv")
    assert row.runs == "dense" and "not be smaller" in row.reason


@on_tensorflow
def test_names_of_inputs_outputs_and_layers(tmp_path):
    a, b = keras.Input((8,), name="left"), keras.Input((8,), name="right")
    shared = keras.layers.Dense(8)  # "dense", and the next one "dense_1", of the same size
    joined = keras.layers.Concatenate()([shared(a), shared(b)])
    inner = keras.Sequential([keras.Input((16,)), keras.layers.Dense(16)])
    out = {"y": keras.layers.Dense(16)(inner(joined)), "z": keras.layers.Dense(2)(joined)}
    model = keras.Model({"left": a, "right": b}, out)
    found = export.litert(model, tmp_path / "net.tflite")
    names = [layer.name for layer in (shared, shared, inner.layers[0], *model.layers[-2:])]
    assert sorted(row.name for row in found.rows) == sorted(names)
    x = {"left": normal(2, 8), "right": normal(2, 8, seed=1)}
    received, expected = outputs(tmp_path / "net.tflite", **x), model(x, training=False)
    for name in ("y", "z"):
        np.testing.assert_allclose(received[name], array(expected[name]), atol=1e-5)


@on_tensorflow
def test_an_operator_that_litert_lacks(tmp_path, capfd):
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(8), keras.layers.Dense(2)])
    with pytest.raises(RuntimeError, match="fixed batch"):
        export.litert(model, tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())
    fixed = [keras.InputSpec(shape=(1, 4, 3), dtype="float32")]
    assert export.litert(model, tmp_path / "net.tflite", input_signature=fixed).difference < 1e-5


def dense():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


@on_tensorflow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": "int4"}, "expected values as one of"),
        ({"representative_data": [normal(2, 4)]}, "together with values='int8'"),
        ({"values": "int8", "representative_data": []}, "at least one batch"),
        ({"values": "int8", "representative_data": [normal(2, 5)]}, r"\(None, 4\).*\(2, 5\)"),
        ({"tolerance": -1.0}, "a number of 0 or more"),
        ({"path": "s3://bucket/net.tflite"}, "local path"),
    ],
)
def test_bad_options_change_nothing(tmp_path, options, message):
    path = options.pop("path", tmp_path / "net.tflite") if "path" in options else None
    with pytest.raises(ValueError, match=message):
        export.litert(dense(), path or tmp_path / "net.tflite", **options)
    assert not list(tmp_path.iterdir())


@on_tensorflow
def test_an_earlier_file_stays_unless_it_may_go(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export.litert(dense(), path)
    assert path.read_text() == "mine"
    with pytest.raises(FileExistsError, match="folder"):
        export.litert(dense(), tmp_path, overwrite=True)
    rounded = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    with pytest.raises(RuntimeError, match="Nothing was exported"):
        export.litert(rounded, path, overwrite=True, values="float16", tolerance=1e-9)
    assert path.read_text() == "mine"
    export.litert(dense(), path, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["net.tflite"]
    assert outputs(path, input_0=normal(3, 4))["output_0"].shape == (3, 2)


@on_tensorflow
def test_a_float32_file_with_other_outputs_is_not_kept(tmp_path, monkeypatch):
    module = sys.modules["tfshed.export.litert.interpreter"]
    monkeypatch.setattr(module, "difference", lambda content, inputs, expected: 0.5)
    with pytest.raises(RuntimeError, match=r"within 0.0001 of the largest, received 0.5\. Nothing"):
        export.litert(dense(), tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.backend
@pytest.mark.skipif(BACKEND != "torch", reason="this backend can write LiteRT files")
def test_pytorch_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=tensorflow"):
        export.litert(dense(), tmp_path / "net.tflite")
