"""SavedModels in engines of other makers: the recipes of docs/export.md.

Each needs packages that neither tfshed nor its tests install: `pip install openvino`, and
`pip install onnxruntime tf2onnx`.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import tfshed
from tests.nets import array, normal
from tfshed import export

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one backend is enough"),
]
L = keras.layers
PAGE = Path(__file__).parents[2] / "docs" / "export.md"
CANNOT_READ = "Cannot find requested variable"


def net():
    layers = [keras.Input((8, 8, 3), name="image"), L.Conv2D(32, 3, activation="relu")]
    layers += [L.BatchNormalization(), L.Conv2D(64, 3), L.GlobalAveragePooling2D(), L.Dense(10)]
    return tfshed.sparsify(keras.Sequential(layers), 0.85)


def close(found, model, x):
    expected = array(model(x, training=False))
    return np.abs(np.asarray(found) - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openvino_takes_a_saved_model_that_is_not_packed(tmp_path):
    openvino = pytest.importorskip("openvino", reason="pip install openvino")
    model, x = net(), normal(2, 8, 8, 3)
    export.saved_model(model, tmp_path / "model", packed=False)
    # Else it computes in bfloat16 on processors that can.
    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(openvino.convert_model(tmp_path / "model"), "CPU", precision)
    assert close(compiled(x)[0], model, x)
    # The table of docs/export.md: should this ever work, it is to say so. The error is OpenVINO's
    # own, so that page tells what to do about it.
    export.saved_model(model, tmp_path / "packed", packed=True)
    assert CANNOT_READ in PAGE.read_text()
    with pytest.raises(Exception, match=CANNOT_READ):
        openvino.compile_model(openvino.convert_model(tmp_path / "packed"), "CPU")(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("packed", [False, True])
def test_onnxruntime_takes_what_tf2onnx_makes_of_a_saved_model(tmp_path, packed):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime tf2onnx")
    tf2onnx = pytest.importorskip("tf2onnx", reason="pip install onnxruntime tf2onnx")
    import tensorflow as tf

    model, x = net(), normal(2, 8, 8, 3)
    export.saved_model(model, tmp_path / "model", packed=packed)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    signature = [tf.TensorSpec((None, 8, 8, 3), tf.float32, name="image")]
    path = tmp_path / "net.onnx"
    function = tf.function(lambda image: loaded.serve(image))
    tf2onnx.convert.from_function(function, signature, output_path=str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: x})
    assert close(output, model, x)
