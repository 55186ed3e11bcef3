"""tfshed.export.saved_model: what it writes, how exactly, and what it refuses."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfshed
from tfshed import export, models

ON_JAX = keras.backend.backend() == "jax"


def small_model():
    """Convolutions, BatchNorm with moved statistics and a dropout: what inference mode changes."""
    model = models.resnet(8, input_shape=(8, 8, 1), width=4, seed=0)
    random = np.random.default_rng(0)
    for variable in model.non_trainable_variables:
        # Means on both sides of zero: else ReLU may leave nothing to compare.
        low = -0.5 if variable.name == "moving_mean" else 0.5
        variable.assign(random.uniform(low, low + 1.0, variable.shape))
    outputs = keras.layers.Dropout(0.5, seed=1)(model.output)
    return keras.Model(model.input, outputs)


def images(batch=5):
    return np.random.default_rng(1).standard_normal((batch, 8, 8, 1)).astype("float32")


def arrays(outputs):
    return [np.asarray(leaf) for leaf in keras.tree.flatten(outputs)]


def assert_same_outputs(model, loaded, *inputs):
    """To the bit against the model's graph; to rounding against the model called directly."""
    received = arrays(loaded.serve(*inputs))
    direct = arrays(model(*inputs, training=False))
    for a, b in zip(direct, received, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    if not ON_JAX:
        graph = tf.function(lambda *x: model(*x, training=False), autograph=False)
        for a, b in zip(arrays(graph(*inputs)), received, strict=True):
            np.testing.assert_array_equal(a, b)


needs_savedmodel = pytest.mark.skipif(
    keras.backend.backend() not in ("tensorflow", "jax"), reason="no SavedModel on this backend"
)
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="holds on TensorFlow only"
)


@pytest.mark.backend
@needs_savedmodel
def test_gives_the_models_outputs_for_any_batch(tmp_path):
    model = small_model()
    path = export.saved_model(model, tmp_path / "deep" / "model")
    assert path == tmp_path / "deep" / "model"
    loaded = tf.saved_model.load(path)
    for batch in (1, 5):
        assert_same_outputs(
            model, loaded, tf.constant(images(batch)) if not ON_JAX else images(batch)
        )


@pytest.mark.backend
@needs_savedmodel
def test_stores_each_weight_once_and_nothing_of_the_optimizer(tmp_path):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(512), keras.layers.Dense(64)])
    model.compile(optimizer="adam", loss="mse")
    model.fit(np.ones((2, 64)), np.ones((2, 64)), verbose=0)
    path = export.saved_model(model, tmp_path / "model", packed=False)
    weights = 4 * model.count_params()
    stored = sum(file.stat().st_size for file in (path / "variables").iterdir())
    assert weights < stored < 1.01 * weights
    loaded = tf.saved_model.load(path)
    assert len(loaded.variables) == len(loaded.trainable_variables) == 4
    assert len(loaded.non_trainable_variables) == 0


@on_tensorflow
def test_opens_in_a_process_without_keras_and_tfshed(tmp_path):
    model = small_model()
    path = export.saved_model(model, tmp_path / "model")
    np.save(tmp_path / "x.npy", images())
    # TensorFlow itself imports Keras where it is installed: here it is not to be had.
    script = (
        "import sys\n"
        "for name in ('keras', 'tf_keras', 'tfshed'):\n"
        "    sys.modules[name] = None\n"
        "import numpy as np, tensorflow as tf\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "np.save(sys.argv[3], loaded.serve(tf.constant(np.load(sys.argv[2]))))\n"
        "assert not [name for name in sys.modules if name.startswith(('keras.', 'tfshed.'))]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path, tmp_path / "x.npy", tmp_path / "y.npy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    graph = tf.function(lambda x: model(x, training=False), autograph=False)
    expected, received = graph(tf.constant(images())).numpy(), np.load(tmp_path / "y.npy")
    # Another process may have another number of threads, which sum in another order.
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.backend
@needs_savedmodel
def test_several_inputs_and_outputs_by_name(tmp_path):
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    model = keras.Model({"a": a, "b": b}, {"sum": keras.layers.Dense(4)(joined), "pair": [a, b]})
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    x = {"a": np.ones((2, 3), "float32"), "b": np.full((2, 2), 3, "float32")}
    assert_same_outputs(model, loaded, x)
    assert set(loaded.serve(x)) == {"sum", "pair"}
    named = loaded.signatures["serving_default"](**{k: tf.constant(v) for k, v in x.items()})
    assert set(named) == {"sum", "pair_0", "pair_1"}
    np.testing.assert_array_equal(named["pair_1"], x["b"])


@on_tensorflow
def test_lists_of_unnamed_inputs_are_numbered(tmp_path):
    inputs = [keras.Input((3,)), keras.Input((3,))]
    model = keras.Model(inputs, [keras.layers.Add()(inputs), inputs[1]])
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    signature = loaded.signatures["serving_default"]
    assert set(signature.structured_input_signature[1]) == {"input_0", "input_1"}
    assert set(signature.structured_outputs) == {"output_0", "output_1"}
    x = [tf.ones((2, 3)), tf.zeros((2, 3))]
    assert_same_outputs(model, loaded, x)


class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return self.dense(x)


class TwoArguments(Subclassed):
    def call(self, x, y):
        return self.dense(x) + self.dense(y)


@pytest.mark.backend
@needs_savedmodel
def test_subclassed_model_that_was_called(tmp_path):
    model = Subclassed()
    model(np.ones((7, 4), "float32"))
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    assert_same_outputs(model, loaded, np.ones((2, 4), "float32"))


@pytest.mark.backend
@needs_savedmodel
def test_subclassed_model_by_its_signature(tmp_path):
    model = TwoArguments()
    spec = keras.InputSpec(shape=(None, 4), dtype="float32")
    path = export.saved_model(model, tmp_path / "model", input_signature=[spec, spec])
    x, y = np.ones((2, 4), "float32"), np.zeros((2, 4), "float32")
    assert_same_outputs(model, tf.saved_model.load(path), x, y)


@pytest.mark.backend
@needs_savedmodel
def test_sequential_built_by_a_call_has_an_open_batch(tmp_path):
    model = keras.Sequential([keras.layers.Dense(2)])
    model(np.ones((7, 3), "float32"))
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    assert_same_outputs(model, loaded, np.ones((2, 3), "float32"))


@on_tensorflow
def test_string_lookup_tables_travel_along(tmp_path):
    inputs = keras.Input((2,), dtype="string", name="words")
    lookup = keras.layers.StringLookup(vocabulary=["a", "c"])
    model = keras.Model(inputs, keras.layers.Embedding(4, 2)(lookup(inputs)))
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    assert_same_outputs(model, loaded, tf.constant([["a", "b"], ["c", "a"]]))


@pytest.mark.backend
@needs_savedmodel
def test_mixed_precision(tmp_path):
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    model = Subclassed()
    model(np.ones((2, 4), "float32"))
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    assert loaded.variables[0].dtype == tf.float32
    received = loaded.serve(tf.ones((2, 4)))
    assert received.dtype == tf.bfloat16
    np.testing.assert_array_equal(
        tf.cast(received, tf.float32),
        np.asarray(keras.ops.cast(model(np.ones((2, 4), "float32")), "float32")),
    )


@on_tensorflow
def test_a_model_trained_on_two_replicas(tmp_path):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = tfshed.sparsify(small_model(), 0.9, scope="layer")
        model.compile("sgd", "mse", jit_compile=False)
    before = [variable.value for variable in model.variables]
    assert all(isinstance(value, tf.distribute.DistributedValues) for value in before)
    path = export.saved_model(model, tmp_path / "model")
    assert all(a is v.value for a, v in zip(before, model.variables, strict=True))
    loaded = tf.saved_model.load(path)
    assert len(loaded.variables) == len(model.variables) - 1  # all but the dropout's seed
    assert_same_outputs(model, loaded, tf.constant(images()))
    # Packed like any other: a checkpoint would have every weight in full.
    report = export.packing(path)
    checkpoint = sum(file.stat().st_size for file in path.glob("variables/*"))
    assert report.packed_bytes + checkpoint < 0.5 * report.dense_bytes
    model.fit(images(4), np.zeros((4, *model.output_shape[1:])), verbose=0)  # as before


@on_tensorflow
def test_replicas_of_tf_keras_are_written_in_full_and_named(tmp_path, caplog):
    import tf_keras

    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(2, name="d")])
    with caplog.at_level(logging.WARNING, logger="tfshed"):
        path = export.saved_model(model, tmp_path / "model")
    assert "several replicas" in caplog.text and "made outside" in caplog.text
    loaded = tf.saved_model.load(path)
    np.testing.assert_array_equal(loaded.variables[0].numpy(), model.get_weights()[0])


@on_tensorflow
def test_state_that_inference_moves_is_the_models_own_afterwards(tmp_path):
    inputs = keras.Input(batch_shape=(2, 5, 3))
    layer = keras.layers.GRU(4, stateful=True)
    model = keras.Model(inputs, layer(inputs))
    spec = tf.TensorSpec((2, 5, 3))
    export.saved_model(model, tmp_path / "model", input_signature=[spec])
    assert not np.any(layer.states[0].numpy())
    model(np.ones((2, 5, 3), "float32"))
    assert np.any(layer.states[0].numpy())


def test_zeros_stay_exactly_zero(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("holds on TensorFlow only")
    model = small_model()
    kernel = model.get_layer("stem_conv").kernel
    kernel.assign(np.where(np.arange(36).reshape(kernel.shape) % 3, 0.0, kernel.numpy()))
    loaded = tf.saved_model.load(export.saved_model(model, tmp_path / "model"))
    stored = next(v for v in loaded.variables if tuple(v.shape) == tuple(kernel.shape))
    np.testing.assert_array_equal(stored.numpy(), kernel.numpy())


@on_tensorflow
def test_nothing_is_printed(tmp_path, capfd):
    export.saved_model(small_model(), tmp_path / "model")
    assert capfd.readouterr() == ("", "")


@on_tensorflow
def test_an_existing_path_needs_overwrite(tmp_path):
    model = small_model()
    path = export.saved_model(model, tmp_path / "model")
    with pytest.raises(
        FileExistsError,
        match="replace the earlier export with overwrite=True",
    ):
        export.saved_model(model, path)
    model.get_layer("logits").bias.assign(np.arange(10.0))
    export.saved_model(model, path, overwrite=True)
    assert_same_outputs(model, tf.saved_model.load(path), tf.constant(images()))
    assert os.listdir(tmp_path) == ["model"]


@on_tensorflow
def test_overwrite_spares_what_is_no_export(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("...")
    (tmp_path / "notes").write_text("...")
    for name in ("thesis", "notes"):
        with pytest.raises(FileExistsError, match="which is something else"):
            export.saved_model(small_model(), tmp_path / name, overwrite=True)
    assert (tmp_path / "thesis" / "chapter1.tex").exists()


@on_tensorflow
@pytest.mark.parametrize("packed", ["auto", True, False])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failed_verification_leaves_everything_as_it_was(
    tmp_path, monkeypatch, overwrite, packed
):
    model = small_model()
    path = tmp_path / "model"
    if overwrite:
        export.saved_model(model, path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    module = sys.modules["tfshed.export.saved_model.verify"]
    monkeypatch.setattr(module, "_differing", _told_of_a_difference_always(module._differing))
    with pytest.raises(RuntimeError, match=r"received others \(output 0 is wrong\)"):
        export.saved_model(model, path, overwrite=overwrite, packed=packed)
    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert after == before
    assert os.listdir(tmp_path) == (["model"] if overwrite else [])


def _told_of_a_difference_always(differing):
    """Comparisons of what was written fail; those of the model with itself, after them, do not."""
    calls = []

    def fake(expected, received):
        calls.append(1)
        return ["output 0 is wrong"] if len(calls) % 2 else differing(expected, received)

    return fake


@on_tensorflow
def test_a_wrong_weight_on_disk_is_noticed(tmp_path, monkeypatch):
    model = small_model()
    save = tf.saved_model.save

    def save_and_change(root, *args, **options):
        save(root, *args, **options)
        logits_bias = next(v for v in root.variables if v.name == "logits/bias:0")
        logits_bias.assign_add(1e-6 * np.eye(10, dtype="float32")[3])

    monkeypatch.setattr(tf.saved_model, "save", save_and_change)
    with pytest.raises(RuntimeError, match="to hold the values of 'logits/bias"):
        export.saved_model(model, tmp_path / "model", packed=False)
    assert os.listdir(tmp_path) == []


@on_tensorflow
def test_a_model_that_never_repeats_itself_needs_verify_false(tmp_path):
    inputs = keras.Input((3,))
    clock = keras.layers.Lambda(lambda x: x + tf.cast(tf.timestamp() % 1000, x.dtype))
    model = keras.Model(inputs, clock(inputs))
    with pytest.raises(RuntimeError, match="the same outputs twice"):
        export.saved_model(model, tmp_path / "model")
    assert export.saved_model(model, tmp_path / "model", verify=False).is_dir()


@on_tensorflow
def test_refuses_with_what_to_do(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(
        TypeError, match="expected a keras.Model of Keras 3 or .*, received .*Dense"
    ):
        export.saved_model(keras.layers.Dense(2), path)
    with pytest.raises(
        ValueError, match="expected a built model, received 'new'.* Call it on a batch"
    ):
        export.saved_model(keras.Sequential([keras.layers.Dense(2)], name="new"), path)
    with pytest.raises(ValueError, match="expected a local path"):
        export.saved_model(small_model(), "gs://bucket/model")
    with pytest.raises(TypeError, match=r"Put it in a list: \[spec\]"):
        export.saved_model(small_model(), path, input_signature=tf.TensorSpec((None, 8, 8, 1)))
    with pytest.raises(TypeError, match="received str"):
        export.saved_model(small_model(), path, input_signature=["float32"])
    with pytest.raises(ValueError, match="a shape and a dtype in every input spec"):
        export.saved_model(small_model(), path, input_signature=[keras.InputSpec(ndim=4)])
    model = TwoArguments()
    model(np.ones((2, 4)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="takes x, y and of which Keras knows 1 shapes"):
        export.saved_model(model, path)
    assert os.listdir(tmp_path) == []


@pytest.mark.backend
@pytest.mark.skipif(keras.backend.backend() != "torch", reason="about the PyTorch backend")
def test_on_pytorch_the_error_says_how_to_get_there(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(RuntimeError, match="received 'torch'.*KERAS_BACKEND=tensorflow"):
        export.saved_model(model, tmp_path / "model")
