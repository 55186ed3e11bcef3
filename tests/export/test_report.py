"""tfshed.export.report: what it counts, what it measures, what it says and how it is written."""

from __future__ import annotations

import json
import math
import re
import sys
import xml.etree.ElementTree as ET

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfshed
from tfshed import export
from tfshed.export.report.sizes import MEASURED_FORMATS, entropy_floor

BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend is enough")
layers = keras.layers


def small(name="net"):
    hidden = layers.Dense(64, activation="relu", name="hidden")
    model = keras.Sequential([keras.Input((16,)), hidden, layers.Dense(4, name="head")], name=name)
    return tfshed.sparsify(model, 0.75, select="hidden")


@on_tensorflow
def test_operations_are_counted_as_by_hand():
    image, series = keras.Input((8, 8, 3)), keras.Input((5, 6))
    x = layers.Conv2D(4, 3, padding="same", strides=2, name="conv")(image)  # 4 x 4 positions
    twice = layers.Dense(4, name="twice")
    x = twice(twice(x))
    x = layers.DepthwiseConv2D(3, name="deep")(x)  # 2 x 2 positions
    inner = keras.Sequential([keras.Input((2, 2, 4)), layers.Conv2D(8, 2, name="inner")])
    x = layers.Flatten()(inner(x))
    y = layers.EinsumDense("abc,cd->abd", (5, 7), name="einsum")(series)
    y = layers.TimeDistributed(layers.Dense(3, name="each"))(y)
    y = layers.GRU(2, name="gru")(y)
    out = layers.Dense(3, name="head")(layers.Concatenate()([x, y]))
    model = keras.Model([image, series], out)
    found = export.report(model, formats=())
    flops = {row.path.split("/")[-2]: row.flops for row in found.kernels}
    assert flops.pop("gru_cell") is None
    assert flops == {
        "conv": 2 * 16 * 27 * 4,
        "twice": 2 * 2 * 16 * 16,
        "deep": 2 * 4 * 9 * 4,
        "inner": 2 * 1 * 4 * 4 * 8,
        "einsum": 2 * 5 * 6 * 7,
        "each": 2 * 5 * 7 * 3,
        "head": 2 * 10 * 3,
    }
    assert found.flops == found.sparse_flops == sum(flops.values())
    assert len(found.uncounted) == 2 and all("gru" in path for path in found.uncounted)
    assert found.parameters == model.count_params()
    tfshed.sparsify(model, 0.5, select="conv/", scope="layer")
    assert export.report(model, formats=()).sparse_flops == found.flops - 16 * 27 * 4


@given(st.integers(1, 400), st.floats(0, 1))
def test_the_floor_is_what_counting_says(n, share):
    """log2 of how many masks there are is at most N x H, and less by at most log2(N + 1)."""
    kept = round(n * share)
    array = np.zeros(n, "float32")
    array[np.random.default_rng(0).permutation(n)[:kept]] = 1.0  # its bits are the same for all
    bits = 8 * entropy_floor([array])
    exact = math.log2(math.comb(n, kept))
    assert bits < exact + math.log2(n + 1) + 8
    if kept < n // 2 and n > 50:  # else in blocks it may take less
        assert exact - 1e-6 <= bits


@on_tensorflow
@pytest.mark.parametrize("granularity", [None, tfshed.Block(4, 1), tfshed.Filter()], ids=str)
def test_no_file_is_smaller_than_the_floor(tmp_path, granularity):
    stack = [keras.Input((8, 8, 8)), layers.Conv2D(128, 5, name="conv"), layers.Flatten()]
    model = keras.Sequential(stack)
    model = tfshed.sparsify(model, 0.8, granularity=granularity, select="conv")
    formats = ["packed_saved_model", "deflated_keras", "gzip", "entropy_floor"]
    found = {size.format: size.size for size in export.report(model, formats=formats).sizes}
    packed = export.packing(export.saved_model(model, tmp_path / "model", packed=True))
    assert 0.8 * packed.packed_bytes < found["entropy_floor"] <= packed.packed_bytes
    assert found["entropy_floor"] < min(found["gzip"], found["deflated_keras"])


@on_tensorflow
def test_reasons_are_one_line_without_traces(monkeypatch):
    from tfshed.export.report import sizes

    def fail(name, *rest):
        text = '<unknown>:0: error: loc(callsite(fused["a"] at "b")): error: no such operator'
        raise RuntimeError(
            f"export: expected it to work, received {text}\nand a trace\n" + "x" * 999
        )

    monkeypatch.setattr(sizes, "_measure", fail)
    (size,) = export.report(small(), formats=["litert"]).sizes
    assert size.reason == "expected it to work, received <unknown>:0: error: no such operator"


@on_tensorflow
def test_a_file_that_would_not_load_has_no_size(monkeypatch):
    module = sys.modules["tfshed.export.saved_model.verify"]
    monkeypatch.setattr(module, "_differing", lambda a, b: [] if a is b else ["output 0 is wrong"])
    (size,) = export.report(small(), formats=["saved_model"]).sizes
    assert size.size is None and "outputs" in size.reason


@on_tensorflow
def test_patterns_and_what_they_are_good_for():
    names = ("quads", "nm", "single", "odd", "filters")
    inputs = keras.Input((32,))
    sizes = {"quads": 32, "nm": 30, "single": 30}
    x = inputs
    for name in ("quads", "nm", "odd", "single", "filters"):
        x = layers.Dense(sizes.get(name, 32), name=name)(x)
    model = keras.Model(inputs, x)
    for name, granularity in (("quads", tfshed.Block(4, 1)), ("nm", tfshed.NxM(2, 4))):
        sparsity = 0.5 if name == "nm" else 0.8
        tfshed.sparsify(model, sparsity, select=name, granularity=granularity, scope="layer")
    tfshed.sparsify(model, 0.8, select="single|odd", scope="layer")
    kernel = model.get_layer("filters").kernel
    values = keras.ops.convert_to_numpy(kernel).copy()
    values[:, :5] = 0
    kernel.assign(values)
    found = {row.path.split("/")[-2]: row for row in export.report(model, formats=()).kernels}
    assert {name: found[name].dead for name in names if name != "odd"} == {
        **{name: found[name].dead for name in ("quads", "nm", "single")},
        "filters": 5,
    }
    assert found["quads"].blocks == 1.0 and found["nm"].two_of_four
    assert not found["single"].two_of_four and found["odd"].blocks is None
    faster = {name: found[name].runtimes[0].faster for name in names}
    assert faster == {"quads": True, "nm": False, "single": False, "odd": False, "filters": False}
    assert "Block(4, 1)" in found["single"].runtimes[0].reason
    assert "multiple of 4" in found["odd"].runtimes[0].reason
    assert "shrink" in found["filters"].runtimes[-1].reason


def pointwise(sparsity, start=True):
    inputs = keras.Input((16, 16, 3))
    x = layers.ZeroPadding2D(1)(inputs) if start else inputs
    x = layers.Conv2D(8, 3, strides=2, name="first")(x)
    x = layers.ReLU()(layers.Conv2D(16, 1, name="point")(x))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(keepdims=True)(x))
    return tfshed.sparsify(model, sparsity, select="point")


@on_tensorflow
@pytest.mark.parametrize(
    ("model", "holds"),
    [
        (lambda: pointwise(0.75), [True, True, True, True, None]),
        (lambda: pointwise(0.5), [True, False, True, True, None]),
        (lambda: pointwise(0.75, start=False), [True, True, False, True, None]),
        (small, [False, False, False, True, None]),
    ],
)
def test_conditions_of_xnnpack(model, holds):
    found = export.report(model(), formats=())
    assert [condition.holds for condition in found.xnnpack] == holds
    verdicts = [v for row in found.kernels for v in row.runtimes if "point/" in row.path]
    assert [v.faster for v in verdicts if "XNNPACK" in v.runtime] in ([], [holds[:3] == [True] * 3])
    assert "AVX" in found.text


@pytest.mark.backend
def test_sizes_are_those_of_the_exports_and_the_model_stays(tmp_path):
    model = small()
    model.compile("adam", "mse")
    optimizer = model.optimizer
    model.train_on_batch(keras.ops.ones((2, 16)), keras.ops.ones((2, 4)))
    tfshed.sparsify(model, 0.75, select="hidden")
    before = model.get_weights()
    found = {size.format: size for size in export.report(model).sizes}
    assert list(found) == list(MEASURED_FORMATS)
    assert model.optimizer is optimizer and model.compiled
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    weights = 4 * model.count_params()
    assert found["float32"].size == weights and found["float32"].share == 1.0
    assert weights < found["keras"].size < 2 * weights + 20000
    assert found["deflated_keras"].size < found["keras"].size
    assert found["entropy_floor"].size < found["gzip"].size < weights
    if BACKEND == "torch":
        assert found["litert"].size is None and "KERAS_BACKEND" in found["litert"].reason
        assert found["packed_saved_model"].size is None
        return
    assert found["packed_saved_model"].size < found["saved_model"].size
    written = export.litert(model, tmp_path / "net.tflite")
    assert found["sparse_litert"].size == written.size
    assert found["litert"].size == written.dense_size


@on_tensorflow
def test_a_format_that_cannot_hold_the_model_is_said_to(capfd):
    model = keras.Sequential([keras.Input((4, 3)), layers.LSTM(8)])
    found = export.report(model, formats=["float32", "litert", "sparse_litert"])
    assert [size.size is None for size in found.sizes] == [False, True, True]
    assert found.text.count("LiteRT has operators for") == 2
    assert "LiteRT has operators for" in found.html()


@on_tensorflow
def test_text_json_and_html_say_the_same_and_need_nothing_else(tmp_path):
    model = small("a<b & $c$")
    found = export.report(model, path=tmp_path / "new", formats=["float32", "entropy_floor"])
    assert (tmp_path / "new" / "report.txt").read_text() == found.text + "\n"
    read = json.loads((tmp_path / "new" / "report.json").read_text())
    assert read == found.to_dict() and read["kernels"][0]["shape"] == [16, 64]
    html = (tmp_path / "new" / "report.html").read_text()
    assert html == found.html()
    assert "a&lt;b &amp; $c$" in html and "a<b" not in html
    for row in found.kernels:
        assert f"{row.weights:,}" in html and f"{row.weights:,}" in found.text
    assert not re.search(r"<(script|link|img)|@import|url\(http|src=", html)
    picture = ET.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])
    text = "".join(picture.itertext())
    assert "hidden" in text and "sparsity" in text


@on_tensorflow
def test_one_file_and_what_is_refused(tmp_path):
    model = small()
    export.report(model, path=tmp_path / "page.html", formats=())
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(ValueError, match="ending in one of"):
        export.report(model, path=tmp_path / "page.pdf")
    with pytest.raises(ValueError, match="received \\['zip'\\]"):
        export.report(model, formats=["zip"])
    with pytest.raises(TypeError, match="keras.Model"):
        export.report(model.layers[0])
    with pytest.raises(ValueError, match="built model"):
        export.report(keras.Sequential([layers.Dense(2)]))
    wrapped = tfshed.prune_low_magnitude(small(), tfshed.ConstantSparsity(0.5, 0))
    with pytest.raises(ValueError, match="strip_pruning"):
        export.report(wrapped)
