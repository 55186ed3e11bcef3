"""tfshed/prune.py: whole models, tfmot's arguments, saving, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import tfshed
from tests.nets import array, kept
from tests.nets import normal as data
from tfshed.attach.declared import report_of
from tfshed.attach.ownership import owner_of

HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)
prune = tfshed.prune_low_magnitude
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow only"
)


# Compiling costs TensorFlow more than training nets as small as these, and JAX less.
EAGER = keras.backend.backend() != "jax"


def train(model, x, y, epochs=1, eager=EAGER, optimizer="sgd", loss=None):
    model.compile(optimizer, loss or keras.losses.MeanSquaredError(), run_eagerly=eager)
    callback = tfshed.UpdatePruningStep()
    return model.fit(x, y, epochs=epochs, batch_size=4, verbose=0, callbacks=[callback])


def net(name="net"):
    layers = [keras.Input((8,), name="inp"), L.Dense(8, name="hidden"), L.ReLU(name="relu")]
    return keras.Sequential([*layers, L.Dense(2, name="head")], name=name)


class Stack(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = L.Dense(8, name="first")
        self.rest = [L.Dense(4, name="second"), L.Dense(2, name="third")]

    def call(self, x):
        x = self.first(x)
        for layer in self.rest:
            x = layer(x)
        return x


# Kinds of models.


@pytest.mark.backend
def test_dict_inputs_several_outputs_and_shared_layers():
    a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
    shared = L.Dense(4, name="shared")
    x, z = shared(a), shared(b)
    outputs = {"one": L.Dense(2, name="one")(x + z), "two": L.Dense(3, name="two")(x * 2.0)}
    plain = keras.Model({"a": a, "b": b}, outputs, name="plain")
    x = {"a": data(8, 8), "b": data(8, 8, seed=1)}
    y = {"one": data(8, 2), "two": data(8, 3)}
    model = prune(plain, HALF)
    assert [layer.name for layer in model.layers if layer.name.endswith("shared")] == [
        "prune_low_magnitude_shared"
    ]
    for key in outputs:
        np.testing.assert_array_equal(array(model(x)[key]), array(plain(x)[key]))
    train(model, x, y, epochs=2, loss={"one": "mse", "two": "mse"})
    for layer in ("shared", "one", "two"):
        assert kept(plain.get_layer(layer).kernel) == 0.5
    # Two steps an epoch, each counted once although the layer is called twice in it.
    assert model.get_layer("prune_low_magnitude_shared").pruning_step == 4
    stripped = tfshed.strip_pruning(model)
    assert [layer.name for layer in stripped.layers if isinstance(layer, L.InputLayer)] == [
        "a",
        "b",
    ]
    assert {layer.name for layer in stripped.layers} == {layer.name for layer in plain.layers}
    for key in outputs:
        np.testing.assert_array_equal(array(stripped(x)[key]), array(model(x)[key]))


@pytest.mark.backend
def test_nested_models_twice_and_shared():
    block = keras.Sequential(
        [keras.Input((8,), name="block_in"), L.Dense(8, name="d")], name="block"
    )
    inner_in = keras.Input((8,), name="inner_in")
    inner = keras.Model(inner_in, block(L.Dense(8, name="e")(inner_in)), name="inner")
    inputs = keras.Input((8,), name="inp")
    plain = keras.Model(inputs, L.Dense(2, name="head")(inner(inner(block(inputs)))), name="outer")
    x, y = data(4, 8), data(4, 2)
    model = prune(plain, HALF)
    np.testing.assert_array_equal(array(model(x)), array(plain(x)))
    assert len(model.trainable_variables) == len(plain.trainable_variables)
    train(model, x, y)
    for variable in plain.trainable_variables:
        assert (
            kept(variable) == (0.5 if variable.name == "kernel" else 1.0) or "bias" in variable.path
        )
    stripped = tfshed.strip_pruning(model)
    names = [layer.name for layer in stripped._flatten_layers()]
    assert sorted(names) == sorted(layer.name for layer in plain._flatten_layers())
    np.testing.assert_array_equal(array(stripped(x)), array(model(x)))


@pytest.mark.backend
def test_a_nested_model_that_is_called_twice_is_saved(tmp_path):
    # Not one that is in two models: Keras cannot load that, wrapped or not.
    inner_in = keras.Input((8,), name="inner_in")
    inner = keras.Model(inner_in, L.Dense(8, name="e")(inner_in), name="inner")
    inputs = keras.Input((8,), name="inp")
    model = prune(keras.Model(inputs, inner(inner(inputs))), HALF)
    train(model, data(4, 8), data(4, 8))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(array(loaded(data(4, 8))), array(model(data(4, 8))))
    loaded.fit(data(4, 8), data(4, 8), verbose=0)
    assert kept(inner.get_layer("e").kernel) == 0.5


@pytest.mark.backend
def test_frozen_layers_stay_dense_also_in_a_frozen_model():
    inner = keras.Sequential([keras.Input((8,)), L.Dense(8, name="deep")], name="inner")
    inner.trainable = False
    inputs = keras.Input((8,))
    x = L.Dense(8, name="frozen", trainable=False)(inner(inputs))
    plain = keras.Model(inputs, L.Dense(2, name="head")(x), name="net")
    model = prune(plain, HALF)
    assert {row.path: row.reason for row in report_of(model)} == {
        "inner/deep/kernel": "",
        "frozen/kernel": "",
        "head/kernel": "",
    }
    train(model, data(4, 8), data(4, 2))
    assert [kept(inner.layers[0].kernel), kept(plain.get_layer("frozen").kernel)] == [1.0, 1.0]
    assert kept(plain.get_layer("head").kernel) == 0.5
    stripped = tfshed.strip_pruning(model)
    assert [v.path for v in stripped.trainable_variables] == ["head/kernel", "head/bias"]


@pytest.mark.backend
def test_a_layer_that_is_frozen_after_it_was_wrapped_is_left_alone():
    model = prune(net(), HALF)
    model.layers[0].trainable = False
    train(model, data(4, 8), data(4, 2))
    assert kept(model.layers[0].layer.kernel) == 1.0
    assert kept(model.layers[2].layer.kernel) == 0.5


@pytest.mark.backend
@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("built", [True, False])
def test_a_subclassed_model_is_marked_trained_and_restored(built, eager):
    model = Stack()
    if built:
        model(data(1, 8))
    assert prune(model, HALF) is model
    model.compile("sgd", "mse", run_eagerly=eager)
    with pytest.raises(
        RuntimeError, match=r"no optimizer prunes it. Add tfshed.UpdatePruningStep\(\)"
    ):
        model.fit(data(4, 8), data(4, 2), verbose=0)
    train(model, data(4, 8), data(4, 2), eager=eager)
    kernels = [layer.kernel for layer in (model.first, *model.rest)]
    assert [kept(k) for k in kernels] == [0.5, 0.5, 0.5]
    before = array(model(data(4, 8)))
    assert tfshed.strip_pruning(model) is model
    np.testing.assert_array_equal(array(model(data(4, 8))), before)
    assert type(model.optimizer).__name__ == "SGD"
    model.fit(data(4, 8), data(4, 2), verbose=0)


@pytest.mark.backend
def test_a_functional_model_with_a_train_step_of_its_own_keeps_it():
    class Counting(keras.Model):
        steps = 0

        def train_step(self, *args):
            type(self).steps += 1
            return super().train_step(*args)

    inputs = keras.Input((8,))
    model = Counting(inputs, L.Dense(2, name="head")(inputs))
    assert prune(model, HALF) is model
    train(model, data(8, 8), data(8, 2))
    assert Counting.steps > 0
    assert kept(model.get_layer("head").kernel) == 0.5


@pytest.mark.backend
def test_a_subclassed_model_inside_a_functional_one():
    inputs = keras.Input((8,))
    plain = keras.Model(inputs, L.Dense(2, name="head")(Stack(name="stack")(inputs)))
    model = prune(plain, HALF)
    train(model, data(4, 8), data(4, 2))
    assert [kept(v) for v in plain.weights if v.name == "kernel"] == [0.5] * 4
    stripped = tfshed.strip_pruning(model)
    assert [layer.name for layer in stripped.layers[1:]] == ["stack", "head"]


@pytest.mark.backend
def test_operations_between_layers_go_along():
    inputs = keras.Input((8,))
    x = L.Dense(4, name="d")(inputs)
    plain = keras.Model(inputs, ops.sum(ops.stack([x * 2.0, ops.relu(x) + 1.0]), axis=0))
    model = prune(plain, HALF)
    train(model, data(4, 8), data(4, 4))
    stripped = tfshed.strip_pruning(model)
    np.testing.assert_array_equal(array(stripped(data(4, 8))), array(model(data(4, 8))))


@pytest.mark.backend
@pytest.mark.parametrize("eager", [True, False])
def test_unbuilt_wrapped_layers_in_a_sequential_model_without_input(eager):
    model = keras.Sequential(
        [*prune([L.Dense(8), L.ReLU(), L.LSTM(4)], HALF)[:2], prune(L.Dense(2), HALF)]
    )
    assert isinstance(model.layers[1], L.ReLU)
    train(model, data(4, 8), data(4, 2), eager=eager)
    assert [kept(model.layers[i].layer.kernel) for i in (0, 2)] == [0.5, 0.5]
    stripped = tfshed.strip_pruning(model)
    np.testing.assert_array_equal(array(stripped(data(4, 8))), array(model(data(4, 8))))


@pytest.mark.backend
@pytest.mark.parametrize(
    "layer",
    [
        lambda: L.MultiHeadAttention(2, 4),
        lambda: L.GroupQueryAttention(4, 4, 2),
        lambda: L.Embedding(4, 4),
        lambda: L.DepthwiseConv2D(3),
        lambda: L.SeparableConv1D(3, 3),
        lambda: L.EinsumDense("ab,bc->ac", 4),
        lambda: L.TimeDistributed(L.Dense(2)),
        lambda: L.Bidirectional(L.GRU(2)),
        lambda: L.RNN([L.LSTMCell(4)]),
        lambda: L.ConvLSTM2D(2, 3),
        lambda: L.Conv3DTranspose(2, 3),
        lambda: L.SpectralNormalization(L.Dense(2)),
    ],
)
def test_an_unbuilt_layer_with_kernels_is_wrapped(layer):
    layer = layer()
    assert prune(layer, HALF, name="mine").layer is layer
    assert prune(layer, HALF, name="mine").name == "mine"


@pytest.mark.backend
def test_custom_layers_by_what_they_say_or_by_name():
    class Table(L.Layer, tfshed.PrunableLayer):
        def build(self, shape):
            self.table = self.add_weight(shape=(shape[-1], 4), name="table")
            self.free = self.add_weight(shape=(4, 4), name="free_kernel")

        def call(self, x):
            return x @ self.table @ self.free

        def get_prunable_weights(self):
            return [self.table]

    class Named(L.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 4), name="my_kernel")
            self.other = self.add_weight(shape=(4, 4), name="matrix")

        def call(self, x):
            return x @ self.w @ self.other

    table, named = Table(), Named()
    plain = keras.Sequential([keras.Input((8,)), table, named])
    model = prune(plain, HALF)
    train(model, data(4, 8), data(4, 4))
    assert [kept(v) for v in (table.table, table.free, named.w, named.other)] == [0.5, 1, 0.5, 1]
    assert kept_after_lazy_build(Table()) == 0.5


def kept_after_lazy_build(layer) -> float:
    model = keras.Sequential([prune(layer, HALF)])
    train(model, data(4, 8), data(4, 4))
    return kept(layer.table)


@pytest.mark.backend
def test_layers_with_declarations_of_their_own_keep_them():
    quarter = tfshed.ConstantSparsity(0.75, 0, frequency=1)
    first = prune(L.Dense(8, name="a"), quarter)
    model = prune(keras.Sequential([keras.Input((8,)), first, L.Dense(2, name="b")]), HALF)
    train(model, data(4, 8), data(4, 2))
    assert [kept(layer.layer.kernel) for layer in model.layers] == [0.25, 0.5]


# tfmot's surface.


@pytest.mark.backend
def test_arguments_by_position_as_in_tfmot():
    layer = prune(L.Dense(4), HALF, (2, 1), "MAX", None, None)
    assert layer.config.schedule is HALF
    assert layer.config.granularity == tfshed.Block(2, 1, pooling="MAX", pad=True)
    assert layer.config.scope == "layer" and layer.config.threshold == 0
    layer = prune(L.Dense(4), HALF, (1, 1), "AVG", None, (3, 4))
    assert layer.config.granularity == tfshed.NxM(1, 4)
    assert prune(L.Dense(4)).config.schedule == tfshed.ConstantSparsity(0.5, 0)
    assert prune(L.Dense(4), tfshed.OneShot(0.5)).config.scope == "global"
    with tfshed.prune_scope():
        assert isinstance(
            prune(to_prune=L.Dense(2), pruning_schedule=HALF), tfshed.PruneLowMagnitude
        )


@pytest.mark.backend
def test_two_zeros_in_every_four():
    model = prune(net(), HALF, sparsity_m_by_n=(2, 4))
    train(model, data(4, 8), data(4, 2))
    groups = array(model.layers[0].layer.kernel).T.reshape(8, 2, 4) != 0
    assert (groups.sum(-1) == 2).all()


@tensorflow_only
def test_a_schedule_of_tfmot_prunes():
    code = """
import keras, numpy as np, tfshed, tensorflow as tf
tf.keras.layers  # before tfmot makes tf.keras another library
import tensorflow_model_optimization as tfmot
kind = tfmot.sparsity.keras.PolynomialDecay
schedule = kind(0.0, 0.5, begin_step=1, end_step=3, frequency=1)
net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
model = tfshed.prune_low_magnitude(net, schedule)
assert model.layers[0].config.scope == "layer"
model.compile("sgd", "mse")
x, y = np.ones((16, 8), "float32"), np.ones((16, 4), "float32")
model.fit(x, y, batch_size=4, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
assert np.count_nonzero(net.get_weights()[0]) == 16, net.get_weights()[0]
assert type(model.layers[0].pruning_vars[0][0]).__module__.startswith("keras.")
print("done")
"""
    assert python(code).stdout.endswith("done\n")


def python(code: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


# Saving, loading, copying.


@pytest.mark.backend
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_saved_model_is_loaded_without_a_scope_and_trained_on(ending, tmp_path):
    x, y = data(8, 8), data(8, 2)
    model = prune(net(), tfshed.PolynomialDecay(0.0, 0.75, 0, 6, frequency=2))
    train(model, x, y, optimizer="adam")
    path = str(tmp_path / ("m" + ending))
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(array(loaded(x)), array(model(x)))
    loaded.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    assert kept(loaded.layers[0].layer.kernel) == 0.25
    was_zero = array(model.layers[0].layer.kernel) == 0
    assert was_zero.any()
    assert (array(loaded.layers[0].layer.kernel)[was_zero] == 0).all()


@pytest.mark.backend
def test_weights_go_from_wrapped_to_wrapped_and_to_plain(tmp_path):
    plain = net()
    model = prune(plain, HALF)
    train(model, data(4, 8), data(4, 2))
    model.save_weights(tmp_path / "w.weights.h5")
    other = keras.models.clone_model(model)
    other.load_weights(tmp_path / "w.weights.h5")
    copy = keras.models.clone_model(plain)
    copy.set_weights(model.get_weights())
    for fresh in (other, copy):
        np.testing.assert_array_equal(array(fresh(data(4, 8))), array(model(data(4, 8))))


@pytest.mark.backend
def test_cloning_and_configs():
    model = prune(net(), HALF, select="hidden")
    for copy in (keras.models.clone_model(model), keras.Sequential.from_config(model.get_config())):
        assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
        assert copy.layers[0].config == model.layers[0].config
        assert copy.layers[0].layer is not model.layers[0].layer
        train(copy, data(4, 8), data(4, 2))
        assert kept(copy.layers[0].layer.kernel) == 0.5
    assert kept(model.layers[0].layer.kernel) == 1.0
    lines: list[str] = []
    model.summary(print_fn=lambda text, **_: lines.append(text))
    assert "prune_low_magnitude" in "\n".join(lines)


def test_a_stripped_model_is_loaded_where_tfshed_is_not_imported(tmp_path):
    x = data(4, 8)
    model = prune(net(), HALF)
    train(model, x, data(4, 2))
    stripped = tfshed.strip_pruning(model)
    stripped.save(tmp_path / "s.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", array(stripped(x)))
    python(f"""
import sys, keras, numpy as np
model = keras.models.load_model({str(tmp_path / "s.keras")!r})
out = np.asarray(keras.ops.convert_to_numpy(model(np.load({str(tmp_path / "x.npy")!r}))))
np.testing.assert_allclose(out, np.load({str(tmp_path / "y.npy")!r}), rtol=1e-6)
assert np.count_nonzero(model.layers[0].kernel) == 32
assert [l.name for l in model.layers] == ["hidden", "relu", "head"] and model.name == "net"
assert "tfshed" not in sys.modules
""")


@pytest.mark.backend
def test_stripping_gives_back_the_very_layers():
    plain = net()
    model = prune(plain, HALF)
    stripped = tfshed.strip_pruning(model)
    assert [id(layer) for layer in stripped.layers] == [id(layer) for layer in plain.layers]
    assert stripped.name == "net" and not stripped.compiled
    assert stripped.inputs[0].name == plain.inputs[0].name == "inp"
    # A model that was never wrapped comes back equal.
    np.testing.assert_array_equal(
        array(tfshed.strip_pruning(plain)(data(4, 8))), array(plain(data(4, 8)))
    )


@pytest.mark.backend
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_float32_weights_and_a_float32_head(policy):
    if policy == "mixed_float16" and keras.backend.backend() == "torch":
        pytest.skip("PyTorch has no float16 matrix product for the CPU's gradients")
    keras.mixed_precision.set_dtype_policy(policy)
    inputs = keras.Input((8,))
    out = L.Dense(2, dtype="float32", name="head")(L.Dense(8, name="hidden")(inputs))
    plain = keras.Model(inputs, out)
    model = prune(plain, HALF)
    keras.mixed_precision.set_dtype_policy("float32")
    x = data(8, 8)
    np.testing.assert_array_equal(array(model(x)), array(plain(x)))
    assert model.layers[1].dtype_policy.name == policy
    assert array(model(x)).dtype == np.float32
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=4)
    else:
        optimizer = keras.optimizers.SGD(0.1)
    train(model, x, data(8, 2), epochs=2, optimizer=optimizer)
    kernel = model.layers[1].layer.kernel
    assert keras.backend.standardize_dtype(kernel.dtype) == "float32"
    weights = array(kernel)[array(kernel) != 0]
    assert weights.size == 32 and (weights != weights.astype("float16")).any()


# What is refused, and that it changes nothing.


class EndsTooHigh(tfshed.PruningSchedule):
    def __call__(self, step):
        return True, 1.5

    def get_config(self):
        return {}


class Refuses(tfshed.PruningPolicy):
    def allow_pruning(self, layer):
        return True

    def ensure_model_supports_pruning(self, model):
        raise ValueError("expected a model with a convolution, received net")


BAD = {
    "no model": (lambda m: prune(None, HALF), TypeError, "expected a Keras model.*NoneType"),
    "a string": (lambda m: prune("net", HALF), TypeError, "expected a Keras model.*builtins.str"),
    "an array": (lambda m: prune(np.ones(3), HALF), TypeError, "received numpy.ndarray"),
    "a class": (lambda m: prune(L.Dense, HALF), TypeError, "expected a Keras model.*type"),
    "empty list": (lambda m: prune([], HALF), ValueError, r"at least one layer, received \[\]"),
    "list of 1": (lambda m: prune([1], HALF), TypeError, "received builtins.int"),
    "schedule": (lambda m: prune(m, 0.5), ValueError, "PruningSchedule.*received 0.5"),
    "a class of schedules": (
        lambda m: prune(m, tfshed.OneShot),
        (TypeError, ValueError),
        "expected a PruningSchedule .*, received <class",
    ),
    "too sparse": (lambda m: prune(m, EndsTooHigh()), ValueError, r"\[0, 1\), received 1.5"),
    "sparsity 1": (lambda m: tfshed.ConstantSparsity(1.0, 0), ValueError, r"\[0, 1\).*1.0"),
    "near miss": (
        lambda m: prune(m, HALF, select="hiden"),
        ValueError,
        "'hiden'.*Nearest.*net/hidden/kernel",
    ),
    "no regex": (lambda m: prune(m, HALF, select="("), ValueError, r"expected a regex.*'\('"),
    "select": (lambda m: prune(m, HALF, select=5), ValueError, "select: expected.*received 5"),
    "rule": (lambda m: prune(m, HALF, select=[("a", 1)]), ValueError, r"entry \('a', 1\)"),
    "nothing left": (
        lambda m: prune(m, HALF, select=lambda layer, v: False),
        ValueError,
        "found none: net/hidden/kernel: rule",
    ),
    "nothing fits": (
        lambda m: prune(m, HALF, sparsity_m_by_n=(2, 16)),
        ValueError,
        "found none: net/hidden/kernel: 8 input channels are no multiple of 16",
    ),
    "unbuilt": (
        lambda m: prune(keras.Sequential([L.Dense(2)]), HALF, select="dense"),
        ValueError,
        "built model.*keras.Input",
    ),
    "select unbuilt": (
        lambda m: prune(L.LSTM(2), HALF, select="recurrent"),
        ValueError,
        "built model or layer.*build",
    ),
    "block": (lambda m: prune(m, HALF, 4), ValueError, "block_size: expected.*received 4"),
    "block of 0": (lambda m: prune(m, HALF, (0, 1)), ValueError, ">= 1, received 0"),
    "pooling": (lambda m: prune(m, HALF, (4, 1), "SUM"), ValueError, '"AVG" or "MAX".*SUM'),
    "m by n": (
        lambda m: prune(m, HALF, sparsity_m_by_n=(4, 2)),
        ValueError,
        r"zeros < out of, received \(4, 2\)",
    ),
    "m by n strings": (
        lambda m: prune(m, HALF, sparsity_m_by_n=("2", "4")),
        ValueError,
        "two ints",
    ),
    "contradiction": (
        lambda m: prune(m, HALF, (4, 1), granularity=tfshed.NxM()),
        ValueError,
        "one of granularity, block_size and sparsity_m_by_n, received.*NxM",
    ),
    "contradiction of tfmot's": (
        lambda m: prune(m, HALF, (4, 1), sparsity_m_by_n=(2, 4)),
        ValueError,
        "one of granularity",
    ),
    "granularity": (lambda m: prune(m, HALF, granularity=(4, 1)), ValueError, r"received \(4, 1\)"),
    "policy": (lambda m: prune(m, HALF, pruning_policy=3), ValueError, "allow_pruning.*received 3"),
    "policy's own": (
        lambda m: prune(m, HALF, pruning_policy=Refuses()),
        ValueError,
        "with a convolution",
    ),
    "scope": (lambda m: prune(m, HALF, scope="net"), ValueError, "scope.*'net'"),
    "criterion": (lambda m: prune(m, HALF, criterion="size"), ValueError, "criterion.*'size'"),
    "shed_every": (
        lambda m: prune(m, HALF, shed_every="a"),
        ValueError,
        "whole number >= 1, received 'a'",
    ),
    "guard": (lambda m: prune(m, HALF, collapse_guard="a"), ValueError, "fraction.*'a'"),
    "unknown": (lambda m: prune(m, HALF, block=4), TypeError, "unknown argument 'block'"),
    "misspelt": (
        lambda m: prune(m, HALF, scop="global"),
        TypeError,
        r"unknown argument 'scop'. Did you mean 'scope'\?",
    ),
    "name of a model": (
        lambda m: prune(m, HALF, name="mine"),
        TypeError,
        r"unknown arguments \['name'\]",
    ),
    "strip": (lambda m: tfshed.strip_pruning(3), TypeError, "received builtins.int"),
    "strip layer": (lambda m: tfshed.strip_pruning(m.layers[0]), TypeError, "the layer Dense"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_changes_nothing(case):
    call, error, message = BAD[case]
    model = net()
    model.compile("adam", "mse")
    model.fit(data(4, 8), data(4, 2), verbose=0)
    weights, config, optimizer = model.get_weights(), model.get_config(), model.optimizer
    state = [array(v) for v in optimizer.variables]
    layers = list(model.layers)
    with pytest.raises(error, match=f"(?s){message}"):
        call(model)
    assert model.get_config() == config and model.layers == layers
    assert model.optimizer is optimizer
    for now, then in zip(
        [*model.get_weights(), *(array(v) for v in optimizer.variables)], [*weights, *state]
    ):
        np.testing.assert_array_equal(now, then)
    assert not any(owner_of(v) for v in model.variables)


@pytest.mark.backend
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(value):
    model = net()
    kernel = array(model.layers[0].kernel).copy()
    kernel[0, 0] = value
    model.layers[0].kernel.assign(kernel)
    for what in (model, model.layers[0], [model.layers[0]]):
        with pytest.raises(ValueError, match=r"finite weights.*\['net/hidden/kernel'\]"):
            prune(what, HALF)
    # Not in what stays dense.
    prune(model, HALF, select="head")


# Where tfmot does nothing, so do we, and say it.


@pytest.mark.backend
def test_declaring_twice_keeps_the_first_declaration_and_says_so():
    model = prune(net(), HALF)
    ninety = tfshed.ConstantSparsity(0.9, 0)
    with pytest.warns(UserWarning, match=r"\['net'\] was declared .*before.*strip_pruning"):
        assert prune(model, ninety) is model
    layer = model.layers[0]
    with pytest.warns(UserWarning, match="the new one is ignored. Wrap its `layer`"):
        assert prune(layer, ninety) is layer
    assert layer.config.schedule is HALF
    again = prune(tfshed.strip_pruning(model), ninety)
    assert again.layers[0].config.final_sparsity == 0.9
    whole = prune(Stack(name="stack"), HALF)
    with pytest.warns(UserWarning, match=r"\['stack'\] was declared"):
        assert prune(whole, ninety) is whole
    assert prune(tfshed.strip_pruning(whole), HALF) is whole


class Forbids(tfshed.PruningPolicy):
    def allow_pruning(self, layer):
        return False


@pytest.mark.backend
def test_a_policy_that_leaves_nothing_and_a_model_without_kernels():
    with pytest.warns(UserWarning, match="nothing of net is to be pruned: net/hidden/kernel: prun"):
        model = prune(net(), HALF, pruning_policy=Forbids())
    assert not any(isinstance(layer, tfshed.PruneLowMagnitude) for layer in model.layers)
    with pytest.warns(UserWarning, match="nothing of net is to be pruned: it has no kernels"):
        prune(keras.Sequential([keras.Input((2,)), L.ReLU()], name="net"), HALF)
    dense, relu = L.Dense(2), L.ReLU()
    assert prune([dense, relu], HALF, pruning_policy=Forbids()) == [dense, relu]


@pytest.mark.backend
def test_a_layer_that_does_not_fit_says_why():
    layer = L.Dense(2, name="head")
    layer.build((None, 6))
    with pytest.warns(UserWarning, match="nothing of head is.*6 input channels are no multiple"):
        assert prune(layer, HALF, sparsity_m_by_n=(2, 4)) is layer
    # Known only when it is built.
    model = keras.Sequential([prune(L.Dense(2), HALF, sparsity_m_by_n=(2, 4))])
    with pytest.raises(ValueError, match="6 input channels are no multiple of 4"):
        train(model, data(4, 6), data(4, 2))
