"""Packed SavedModels: exact, small, opened by every loader, and never silently wrong."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import tfshed
from tests.export.loaders import LOADERS, c_api, called, load, session
from tfshed import export

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="holds on TensorFlow only"
)
pytestmark = on_tensorflow


def sparse_model(sparsity=0.85):
    """Convolutions, BatchNorm with moved statistics, variables of several ranks and sizes."""
    layers = [
        keras.layers.Conv2D(16, 3, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Conv2D(64, 3),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10),
    ]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    random = np.random.default_rng(0)
    for variable in model.variables:
        if len(variable.shape) == 1:
            variable.assign(random.uniform(0.5, 1.5, variable.shape) - ("mean" in variable.path))
    return tfshed.sparsify(model, sparsity, scope="layer")


def dense_layers(*widths, first=64):
    layers = [keras.layers.Dense(width, activation="relu") for width in widths]
    return keras.Sequential([keras.Input((first,), name="x"), *layers])


def images(batch=3):
    return np.random.default_rng(1).standard_normal((batch, 8, 8, 3)).astype("float32")


def bytes_in(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = sparse_model()
    path = export.saved_model(model, tmp_path_factory.mktemp("packed") / "model")
    dense = export.saved_model(model, path.parent / "dense", packed=False)
    return path, dense


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_every_loader_opens_it_and_gives_the_bits_of_the_dense_one(exported, name, capfd):
    packed, dense = exported
    received = LOADERS[name](packed, images())
    np.testing.assert_array_equal(received, LOADERS[name](dense, images()))
    # Others compute in another order, or with other kernels.
    np.testing.assert_allclose(received, load(dense, images()), rtol=1e-4, atol=1e-4)
    assert len(np.unique(received)) == received.size


IN_A_STRATEGY = "Trying to access a placeholder that is not supposed to be executed"


def test_under_a_mirrored_strategy_only_the_dense_one_loads(exported):
    packed, dense = exported
    expected = load(dense, images())
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        loaded = tf.saved_model.load(dense)
        # The error is TensorFlow's own; docs/export.md tells what to do about it.
        with pytest.raises(tf.errors.InvalidArgumentError, match=IN_A_STRATEGY):
            tf.saved_model.load(packed)
    assert IN_A_STRATEGY in Path(__file__).parents[2].joinpath("docs/export.md").read_text()
    np.testing.assert_allclose(called(loaded, images()), expected, rtol=1e-5)


def test_is_as_small_as_its_entropy_lets_it(tmp_path):
    model = tfshed.sparsify(dense_layers(1024, 1024, first=512), 0.85)
    packed = export.saved_model(model, tmp_path / "packed")
    dense = export.saved_model(model, tmp_path / "dense", packed=False)
    # Mask .61 bits; sign, mantissa and an exponent of 1.3 bits for 15 %: .137; the graph's .012.
    assert bytes_in(packed) < 0.155 * bytes_in(dense)
    report = export.packing(packed)
    kernels = [v.numpy() for v in model.variables]
    assert report.nonzeros == sum(np.count_nonzero(kernel) for kernel in kernels)
    assert report.weights == model.count_params()
    assert "exact" in str(report)


def test_blocks_take_a_mask_of_blocks(tmp_path):
    layers = (512, 512)
    single = tfshed.sparsify(dense_layers(*layers), 0.8, criterion="random")
    block = tfshed.Block(4, 1)
    blocks = tfshed.sparsify(dense_layers(*layers), 0.8, criterion="random", granularity=block)
    sizes = []
    for name, model in (("single", single), ("blocks", blocks)):
        path = export.saved_model(model, tmp_path / name)
        sizes.append(export.packing(path).packed_bytes / export.packing(path).nonzeros)
    # 3.6 bits of distance for each weight against .9.
    assert sizes[1] < sizes[0] - 2.5 / 8


def test_unusual_numbers_keep_their_bits(tmp_path):
    model = dense_layers(128)
    kernel = np.zeros((64, 128), "float32")
    random = np.random.default_rng(0).integers(0, 2**32, 900, dtype="uint32").view("float32")
    kernel.reshape(-1)[::9][:900] = random
    kernel.reshape(-1)[:4] = [np.inf, -np.inf, 1e-45, -1.5e-39]
    model.layers[0].kernel.assign(kernel)
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model", verify=False))
    stored = next(v for v in loaded.variables if v.shape == kernel.shape).numpy()
    expected = np.where(kernel.view("uint32") << 1 == 0, 0, kernel.view("uint32"))
    np.testing.assert_array_equal(stored.view("uint32"), expected)


class Scale(keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=shape[1:], initializer="ones")

    def call(self, x):
        return x * self.scale


def test_the_sign_of_a_zero_is_no_difference(tmp_path):
    """Masks that are multiplied with leave `-0.0`, and so does a layer that multiplies with it."""
    model = keras.Sequential([keras.Input((4,)), Scale()])
    model.layers[0].scale.assign([-0.0, 1.0, -0.0, -0.0])
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model", packed=True))
    x = np.array([[-1.0, 2.0, -3.0, 4.0]], "float32")
    expected, received = np.asarray(model(x)), loaded.serve(x).numpy()
    np.testing.assert_array_equal(received, expected)
    assert np.signbit(received).tolist() != np.signbit(expected).tolist()


class Several(keras.layers.Layer):
    """Small variables of all ranks, some alike but for the first axis, some without elements."""

    SHAPES = ((), (3,), (2, 3), (), (5, 3), (2, 3, 4), (0,), (0, 3), (4, 0), (1, 3), (7,))

    def build(self, shape):
        make = keras.initializers.RandomNormal(seed=1)
        self.parts = [self.add_weight(shape=s, initializer=make) for s in self.SHAPES]

    def call(self, x):
        return x + sum(keras.ops.sum(part) for part in self.parts)


@pytest.mark.parametrize("sparse", [False, True])
def test_small_variables_of_every_shape(tmp_path, sparse):
    dense = keras.layers.Dense(64)
    model = keras.Sequential([keras.Input((64,)), dense, Several()])
    if sparse:
        model = tfshed.sparsify(model, 0.8)
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    expected = sorted((v.numpy() for v in model.variables), key=lambda a: (a.shape, a.tobytes()))
    received = sorted((v.numpy() for v in loaded.variables), key=lambda a: (a.shape, a.tobytes()))
    for a, b in zip(expected, received, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes_are_packed_exactly(tmp_path, dtype):
    inputs = keras.Input((32,), dtype=dtype)
    layer = keras.layers.Dense(256, dtype=dtype)
    model = keras.Model(inputs, layer(inputs))
    mask = np.random.default_rng(0).random((32, 256)) < 0.2
    layer.kernel.assign(layer.kernel * mask)
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    kernel = next(v for v in loaded.variables if v.shape.rank == 2)
    assert kernel.dtype == dtype
    np.testing.assert_array_equal(kernel.numpy(), layer.kernel.numpy())


@pytest.mark.parametrize("values, bits", [("bfloat16", 8), ("float16", 11), ("int8", 7)])
def test_lossy_values_say_how_far_outputs_move(tmp_path, caplog, values, bits):
    model = tfshed.sparsify(dense_layers(128, 64), 0.7)
    exact = export.saved_model(model, tmp_path / "exact")
    with caplog.at_level(logging.WARNING, logger="tfshed"):
        path = export.saved_model(model, tmp_path / values, values=values)
    report = export.packing(path)
    assert 0 < report.largest_difference < 2.0 ** (5 - bits) * report.largest_output
    assert (
        f"kernels as {values}; outputs differ by up to {report.largest_difference:.2g}"
        in caplog.text
    )
    assert report.packed_bytes < 0.75 * export.packing(exact).packed_bytes
    a, b = (tf.saved_model.load(str(p)).variables for p in (exact, path))
    for before, after in zip(a, b, strict=True):
        before, after = before.numpy(), after.numpy()
        if before.ndim < 2:
            np.testing.assert_array_equal(before, after)
        else:
            scale = np.abs(before).max(tuple(range(before.ndim - 1)), initial=0)
            assert np.all(np.abs(before - after) <= 2.0**-bits * scale)
            assert np.all(after[before == 0] == 0)


def test_values_that_do_not_fit_are_refused(tmp_path):
    model = dense_layers(128)
    model.layers[0].kernel.assign(np.full((64, 128), 1e6, "float32"))
    with pytest.raises(ValueError, match=r"dense.*/kernel.*range of float16"):
        export.saved_model(model, tmp_path / "model", values="float16")
    model.layers[0].kernel.assign(np.full((64, 128), np.nan, "float32"))
    with pytest.raises(ValueError, match=r"kernel.*finite values for int8"):
        export.saved_model(model, tmp_path / "model", values="int8")
    with pytest.raises(ValueError, match="received 'int4'"):
        export.saved_model(model, tmp_path / "model", values="int4")
    with pytest.raises(ValueError, match="pass packed=True"):
        export.saved_model(model, tmp_path / "model", values="int8", packed=False)
    assert os.listdir(tmp_path) == []


def change_byte(content):
    return content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]


@pytest.mark.parametrize("loader", [load, session, c_api])
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda content: content[:-1], "bytes, received"),
        (lambda content: b"", "bytes, received"),
        (lambda content: content + b"\0" * 1000, "bytes, received"),
        (change_byte, "expected the bytes that were written"),
    ],
    ids=["short", "empty", "long", "changed"],
)
def test_a_changed_file_is_an_error_in_every_loader(tmp_path, loader, change, message):
    path = export.saved_model(tfshed.sparsify(dense_layers(128), 0.5), tmp_path / "model")
    file = path / "assets" / "weights_0.tfshed"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(Exception, match=f"weights_0.tfshed of this SavedModel.*{message}"):
        loader(path, np.ones((2, 64), "float32"))


def test_what_is_saved_again_keeps_its_changes(tmp_path):
    model = tfshed.sparsify(dense_layers(128), 0.5)
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    for variable in loaded.variables:
        variable.assign(2 * variable)
    x = np.ones((2, 64), "float32")
    expected = loaded.serve(x).numpy()
    tf.saved_model.save(loaded, tmp_path / "again", signatures=loaded.signatures)
    for loader in (load, session, c_api):
        np.testing.assert_array_equal(loader(tmp_path / "again", x), expected)


def test_what_is_loaded_has_the_models_gradients(tmp_path):
    model = sparse_model()
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))

    def gradients(serve, variables):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(serve(tf.constant(images())) ** 2)
        return [np.asarray(g) for g in tape.gradient(loss, variables)]

    mine = [v.value for v in model.trainable_variables]
    expected = gradients(lambda x: model(x, training=False), mine)
    received = gradients(loaded.serve, loaded.trainable_variables)
    for variable, gradient in zip(loaded.trainable_variables, received, strict=True):
        (at,) = [i for i, v in enumerate(mine) if np.array_equal(v, variable)]
        np.testing.assert_allclose(gradient, expected[at], rtol=1e-4, atol=1e-4)


def test_a_function_that_is_compiled_stays(tmp_path):
    """Others that only call a function go; this one would lose what it says of compiling."""

    half = tf.function(lambda x: x / 2)
    halved = tf.function(lambda x: half(x), jit_compile=True)
    path = export.saved_model(
        dense_layers(8),
        tmp_path / "model",
        preprocessing=lambda x: halved(x),
        preprocessing_signature=[tf.TensorSpec((None, 64))],
    )
    graph = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    functions = graph.meta_graphs[0].graph_def.library.function
    assert [f.attr["_XlaMustCompile"].b for f in functions].count(True) == 1


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = sparse_model()
    a, b = (export.saved_model(model, tmp_path / name) for name in "ab")
    for file in sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file()):
        if file.name != "fingerprint.pb":  # TensorFlow puts a random number into it
            assert (a / file).read_bytes() == (b / file).read_bytes(), file


@pytest.mark.parametrize("block", [1, 4])
def test_all_floats_are_read_back_by_one_loop(tmp_path, block):
    """Biases and BatchNorm too: TensorFlow prepares a loop for longer than it runs it."""
    model = sparse_model()
    if block > 1:
        granularity = tfshed.Block(block, 1)
        model = tfshed.sparsify(model, 0.9, scope="layer", granularity=granularity)
    path = export.saved_model(model, tmp_path / "model")
    graph = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (meta,) = graph.meta_graphs
    functions = {f.signature.name: f for f in meta.graph_def.library.function}
    (initializer,) = (f for name, f in functions.items() if "initializer" in name)
    operations = Counter(node.op for node in initializer.node_def)
    assert operations["StatelessWhile"] == 1
    assert operations["DecodeCompressed"] == 0
    assert operations["AssignVariableOp"] == len(model.variables)
    # The signature calls the forward pass itself, and what fills the variables is no choice.
    assert sum("serving_default" in name for name in functions) == 0
    kinds = {
        child.local_name: meta.object_graph_def.nodes[child.node_id].WhichOneof("kind")
        for node in meta.object_graph_def.nodes
        if node.HasField("resource")
        for child in node.children
    }
    assert kinds["_initialize"] == "bare_concrete_function"


def test_the_model_is_left_as_it_was(tmp_path):
    model = sparse_model()
    before = [value.copy() for value in model.get_weights()]
    export.saved_model(model, tmp_path / "model")
    tf.saved_model.save(model.variables[0].value, str(tmp_path / "variable"))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    checkpoint = tf.train.load_checkpoint(str(tmp_path / "variable" / "variables" / "variables"))
    assert len(checkpoint.get_variable_to_shape_map()) > 1


def test_a_crash_leaves_the_old_export(tmp_path):
    path = export.saved_model(tfshed.sparsify(dense_layers(128), 0.5), tmp_path / "model")
    before = {p.name: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    script = (
        "import os, sys, keras, tensorflow as tf\n"
        "from tfshed import export\n"
        "checked = sys.modules['tfshed.export.saved_model.checked']\n"
        "checked.shorten_graph = lambda *a, **k: os._exit(9)\n"
        "net = keras.Sequential([keras.Input((64,)), keras.layers.Dense(128)])\n"
        "export.saved_model(net, sys.argv[1], overwrite=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert {p.name: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_with_preprocessing(tmp_path):
    model = dense_layers(128)
    scale = keras.Sequential([keras.Input((64,)), keras.layers.Rescaling(1 / 255)])

    def preprocessing(image, offset):
        return scale(tf.cast(image, "float32")) + offset

    path = export.saved_model(
        model,
        tmp_path / "model",
        preprocessing=preprocessing,
        preprocessing_signature=[
            tf.TensorSpec((None, 64), tf.uint8, "image"),
            tf.TensorSpec((None, 1), tf.float32, "offset"),
        ],
    )
    image = np.random.default_rng(0).integers(0, 256, (3, 64)).astype("uint8")
    offset = np.ones((3, 1), "float32")
    loaded = tf.saved_model.load(path)
    expected = loaded.serve(tf.constant(preprocessing(image, offset)))
    received = loaded.signatures["serving_with_preprocessing"](
        image=tf.constant(image), offset=tf.constant(offset)
    )
    np.testing.assert_allclose(received["output_0"], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="preprocessing to return the model's inputs"):
        export.saved_model(
            model,
            tmp_path / "wrong",
            preprocessing=lambda x: x,
            preprocessing_signature=[tf.TensorSpec((None, 64), tf.uint8)],
        )
    with pytest.raises(ValueError, match="preprocessing alone"):
        export.saved_model(model, tmp_path / "wrong", preprocessing=scale)
    assert os.listdir(tmp_path) == ["model"]


def test_preprocessing_with_tables_and_weights(tmp_path):
    words = keras.Input((2,), dtype="string")
    lookups = [keras.layers.StringLookup(vocabulary=list(v)) for v in ("ac", "cb")]
    embedding = keras.layers.Embedding(4, 16)
    numbers = keras.layers.Concatenate()([lookup(words) for lookup in lookups])
    to_numbers = keras.Model(words, keras.layers.Flatten()(embedding(numbers)))
    model = dense_layers(128)
    path = export.saved_model(
        model,
        tmp_path / "model",
        preprocessing=to_numbers,
        preprocessing_signature=[tf.TensorSpec((None, 2), tf.string, "words")],
    )
    text = tf.constant([["a", "b"], ["c", "a"]])
    loaded = tf.saved_model.load(path)
    received = loaded.serve_with_preprocessing(text)
    np.testing.assert_allclose(received, model(to_numbers(text)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["functional", "subclassed"])
def test_models_of_tf_keras(tmp_path, kind):
    import tf_keras

    layers = [tf_keras.layers.Dense(256, activation="relu"), tf_keras.layers.Dense(3)]
    model = tf_keras.Sequential(layers)
    x = np.random.default_rng(0).standard_normal((4, 32)).astype("float32")
    if kind == "functional":
        inputs = tf_keras.Input((32,), name="x")
        model = tf_keras.Model(inputs, model(inputs))
    else:
        model(x)
    kernel = layers[0].kernel
    kernel.assign(kernel * (np.random.default_rng(0).random(kernel.shape) < 0.2))
    path = export.saved_model(model, tmp_path / "model")
    np.testing.assert_allclose(load(path, x), model(x), rtol=1e-5, atol=1e-6)
    assert export.packing(path).packed_bytes < 0.25 * export.packing(path).dense_bytes
    tf_keras.backend.clear_session()


def test_inputs_of_any_name(tmp_path):
    names = ("n0", "v1", "v_1", "x")
    tensors = [keras.Input((64,), name=name) for name in names]
    model = keras.Model(tensors, keras.layers.Dense(128)(keras.layers.Add()(tensors)))
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    given = {name: tf.fill([2, 64], float(i)) for i, name in enumerate(names)}
    expected = loaded.serve(list(given.values()))
    received = loaded.signatures["serving_default"](**given)["output_0"]
    np.testing.assert_array_equal(received, expected)
    np.testing.assert_allclose(expected, model(list(given.values())), rtol=1e-5, atol=1e-5)


def test_large_models_take_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["tfshed.export.saved_model.weight_files"], "FILE_BYTES", 20_000)
    model = tfshed.sparsify(dense_layers(256, 256, 256), 0.5)
    path = export.saved_model(model, tmp_path / "model")
    assert len(list((path / "assets").iterdir())) > 2
    x = np.ones((2, 64), "float32")
    for loader in (load, session):
        np.testing.assert_allclose(loader(path, x), model(x), rtol=1e-5, atol=1e-6)


def test_packing_says_what_it_expects(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a packed SavedModel"):
        export.packing(tmp_path)
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "tfshed.json").write_text('{"values": "float32"}')
    with pytest.raises(ValueError, match="as tfshed wrote it"):
        export.packing(tmp_path)
    assert [f.name for f in dataclasses.fields(export.Packing)][0] == "values"
