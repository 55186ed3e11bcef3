"""packed="auto": packed where that pays, dense where not, and passes that change bits left out."""

from __future__ import annotations

import logging
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfshed
from tfshed import export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="holds on TensorFlow only"
)
layers = keras.layers


def net(width, sparsity=0.9):
    model = keras.Sequential([keras.Input((64,), name="x"), layers.Dense(width)])
    return tfshed.sparsify(model, sparsity)


def bytes_in(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def assert_same_outputs(a, b, x):
    loaded = [tf.saved_model.load(path) for path in (a, b)]
    np.testing.assert_array_equal(*(each.serve(x) for each in loaded))


def test_a_tiny_model_is_written_dense_and_both_sizes_are_told(tmp_path, caplog):
    model = net(2, 0.0)
    with caplog.at_level(logging.WARNING, logger="tfshed"):
        path = export.saved_model(model, tmp_path / "auto")
    found = export.packing(path)
    packed = export.saved_model(model, tmp_path / "packed", packed=True)
    dense = export.saved_model(model, tmp_path / "dense", packed=False)
    assert found.stored == "dense" and found.packed_bytes == 0
    assert bytes_in(dense) < bytes_in(packed)
    text = f"it takes {found.total_bytes:,} bytes, and would take {found.other_bytes:,} packed"
    assert text in caplog.text and text in str(found)
    assert found.other_bytes == pytest.approx(bytes_in(packed), abs=500)
    assert found.total_bytes == pytest.approx(bytes_in(dense), abs=500)
    x = np.ones((2, 64), "float32")
    assert_same_outputs(path, dense, x)


@pytest.mark.parametrize("width, sparsity, stored", [(256, 0.9, "packed"), (1024, 0.0, "packed")])
def test_the_smaller_form_is_written(tmp_path, width, sparsity, stored, caplog):
    with caplog.at_level(logging.WARNING, logger="tfshed"):
        path = export.saved_model(net(width, sparsity), tmp_path / "model")
    assert export.packing(path).stored == stored and caplog.text == ""


def test_random_bits_do_not_pack(tmp_path):
    model = net(512, 0.0)
    random = np.random.default_rng(0).integers(0, 2**32, (64, 512), dtype="uint32")
    kernel = random.view("float32")
    model.layers[0].kernel.assign(np.where(np.isfinite(kernel), kernel, 1.0))
    assert export.packing(export.saved_model(model, tmp_path / "model")).stored == "dense"


def test_what_cannot_be_packed_is_written_dense_with_the_reason(tmp_path, caplog, monkeypatch):
    module = sys.modules["tfshed.export.saved_model.save"]

    def fail(*args):
        raise AttributeError("no such hook in this TensorFlow")

    monkeypatch.setattr(module, "without_checkpoint", fail)
    with caplog.at_level(logging.WARNING, logger="tfshed"):
        path = export.saved_model(net(256), tmp_path / "model")
    assert "cannot be packed (no such hook in this TensorFlow)" in caplog.text
    assert export.packing(path).stored == "dense"
    with pytest.raises(AttributeError, match="no such hook"):
        export.saved_model(net(256), tmp_path / "packed", packed=True)


def test_lossy_values_are_always_packed(tmp_path):
    path = export.saved_model(net(16), tmp_path / "model", values="int8")
    assert export.packing(path).stored == "packed"


@pytest.mark.parametrize("packed", ["yes", None, 1.5])
def test_other_words_are_refused(tmp_path, packed):
    with pytest.raises(ValueError, match="packed as 'auto', True or False"):
        export.saved_model(net(16), tmp_path / "model", packed=packed)


def test_a_pass_that_changes_a_bit_is_left_out(tmp_path, caplog, monkeypatch):
    module = sys.modules["tfshed.export.saved_model.shorten.passes"]
    merge = module.merge_constants

    def spoil(function):
        for node in function.node_def:
            if node.op == "Const" and node.attr["dtype"].type == 1:
                node.attr["value"].tensor.float_val[:] = [0.25]
                node.attr["value"].tensor.tensor_content = b""
        return merge(function)

    monkeypatch.setattr(module, "merge_constants", spoil)
    model = keras.Sequential([keras.Input((64,)), layers.Rescaling(0.5), layers.Dense(256)])
    with caplog.at_level(logging.INFO, logger="tfshed"):
        path = export.saved_model(model, tmp_path / "model", packed=True)
    assert "by the passes ['drop_notes', 'shorten_names'] only" in caplog.text
    x = np.ones((2, 64), "float32")
    loaded = tf.saved_model.load(path)
    np.testing.assert_allclose(loaded.serve(x), model(x), rtol=1e-5)


def test_without_verifying_no_pass_is_risked(tmp_path):
    model = net(256)
    checked = export.saved_model(model, tmp_path / "checked")
    unchecked = export.saved_model(model, tmp_path / "unchecked", verify=False)
    sizes = [(path / "saved_model.pb").stat().st_size for path in (checked, unchecked)]
    assert sizes[0] < sizes[1]
    assert_same_outputs(checked, unchecked, np.ones((2, 64), "float32"))


class ShortPositions(layers.Layer):
    """As in BERT: a vector for each position, of which there are five."""

    def build(self, shape):
        self.table = self.add_weight(shape=(5, shape[-1]))

    def call(self, x):
        return x + self.table[: keras.ops.shape(x)[1]]


def test_models_with_a_longest_length_are_verified_on_shorter_inputs(tmp_path):
    model = keras.Sequential([keras.Input((None, 4)), ShortPositions()])
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    np.testing.assert_array_equal(
        loaded.serve(np.zeros((1, 5, 4), "float32")), model(np.zeros((1, 5, 4)))
    )


def test_a_single_input_in_a_list_is_taken_alone(tmp_path):
    inputs = keras.Input((4,), name="x")
    keras.Model([inputs], layers.Dense(2)(inputs)).save(tmp_path / "net.keras")
    model = keras.saving.load_model(tmp_path / "net.keras")
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    x = tf.ones((3, 4))
    np.testing.assert_allclose(loaded.serve(x), model([x]), rtol=1e-6)
    assert set(loaded.signatures["serving_default"](x=x)) == {"output_0"}


def test_wrapped_models_are_refused_by_every_format(tmp_path):
    model = tfshed.prune_low_magnitude(net(16, 0.0), tfshed.ConstantSparsity(0.5, 0))
    for name, function in (
        ("model", export.saved_model),
        ("model.tflite", export.litert),
        ("model.keras", export.keras),
    ):
        with pytest.raises(ValueError, match=r"without pruning wrappers.*strip_pruning"):
            function(model, tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_overwriting_keeps_the_users_own_files(tmp_path):
    path = export.saved_model(net(256), tmp_path / "model")
    mine = ["README.md", "assets/labels.txt", "assets.extra/warmup", "variables/notes"]
    for name in mine:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(name)
    export.saved_model(net(256), path, overwrite=True, packed=False)
    assert [(path / name).read_text() for name in mine] == mine
    assert not list(path.glob("assets/weights_*"))
    assert not (path / "assets.extra" / "tfshed.json").exists()
