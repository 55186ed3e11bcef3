"""tfshed/wrapper.py: every kind of layer, wrapped in a model, trained, saved and unwrapped."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import tfshed
from tests.nets import KERAS
from tfshed.attach.declared import report_of

HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def array(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


# Compiling costs TensorFlow more than training nets as small as these, and JAX less.
EAGER = keras.backend.backend() != "jax"


def train(model, x, y, epochs=1, eager=EAGER, optimizer="sgd", loss=None):
    loss = loss or keras.losses.MeanSquaredError()
    model.compile(optimizer, loss, run_eagerly=eager)
    callback = tfshed.UpdatePruningStep()
    return model.fit(x, y, epochs=epochs, batch_size=4, verbose=0, callbacks=[callback])


def assert_half_is_zero(variable) -> None:
    n = int(np.prod(variable.shape))
    assert np.count_nonzero(array(variable)) == max(1, round(n / 2))


def around(layer, shape, name="net"):
    """The layer in a functional model, with a head after it."""
    inputs = keras.Input(shape, name="the_input")
    x = layer(inputs)
    if len(x.shape) > 2:
        x = L.Flatten(name="flat")(x)
    return keras.Model(inputs, L.Dense(2, name="head")(x), name=name)


# Each layer: its input shape, and for each kernel that is pruned the axes of its input and output
# channels.
ROWS = (0, 1)
KINDS = {
    "Dense": (lambda: L.Dense(4), (8,), {"kernel": ROWS}),
    "Conv1D": (lambda: L.Conv1D(4, 3), (4, 8), {"kernel": (1, 2)}),
    "Conv2D": (lambda: L.Conv2D(4, 2), (3, 3, 8), {"kernel": (2, 3)}),
    "Conv2D grouped": (lambda: L.Conv2D(4, 2, groups=2), (3, 3, 8), {"kernel": (2, 3)}),
    "Conv3D": (lambda: L.Conv3D(2, 2), (2, 2, 2, 8), {"kernel": (3, 4)}),
    "Conv1DTranspose": (lambda: L.Conv1DTranspose(3, 2), (4, 8), {"kernel": (2, 1)}),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(3, 2), (3, 3, 8), {"kernel": (3, 2)}),
    "Conv3DTranspose": (lambda: L.Conv3DTranspose(3, 2), (2, 2, 2, 8), {"kernel": (4, 3)}),
    "SeparableConv1D": (lambda: L.SeparableConv1D(4, 2), (4, 8), {"pointwise_kernel": (1, 2)}),
    "SeparableConv2D": (lambda: L.SeparableConv2D(4, 2), (3, 3, 8), {"pointwise_kernel": (2, 3)}),
    "EinsumDense": (
        lambda: L.EinsumDense("abc,cd->abd", output_shape=(3, 4), bias_axes="d"),
        (3, 8),
        {"kernel": ROWS},
    ),
    "EinsumDense ellipsis": (
        lambda: L.EinsumDense("...x,xy->...y", output_shape=4),
        (3, 8),
        {"kernel": ROWS},
    ),
    "EinsumDense to heads": (
        lambda: L.EinsumDense("abc,cde->abde", output_shape=(3, 2, 4)),
        (3, 8),
        {"kernel": (0, 2)},
    ),
    "EinsumDense from heads": (
        lambda: L.EinsumDense("abcd,cde->abe", output_shape=(3, 4)),
        (3, 2, 8),
        {"kernel": (1, 2)},
    ),
    "EinsumDense transposed": (
        lambda: L.EinsumDense("ab,cb->ac", output_shape=4),
        (8,),
        {"kernel": (1, 0)},
    ),
    "EinsumDense per position": (
        lambda: L.EinsumDense("abc,bcd->abd", output_shape=(3, 4)),
        (3, 8),
        {"kernel": (1, 2)},
    ),
    "LSTM": (lambda: L.LSTM(4), (3, 8), {"kernel": ROWS, "recurrent_kernel": ROWS}),
    "LSTM with dropout": (
        lambda: L.LSTM(4, dropout=0.2, recurrent_dropout=0.2),
        (3, 8),
        {"kernel": ROWS, "recurrent_kernel": ROWS},
    ),
    "GRU sequences": (
        lambda: L.GRU(4, return_sequences=True),
        (3, 8),
        {"kernel": ROWS, "recurrent_kernel": ROWS},
    ),
    "SimpleRNN backwards": (
        lambda: L.SimpleRNN(4, go_backwards=True, unroll=True),
        (3, 8),
        {"kernel": ROWS, "recurrent_kernel": ROWS},
    ),
    "RNN of a cell": (
        lambda: L.RNN(L.LSTMCell(4)),
        (3, 8),
        {"kernel": ROWS, "recurrent_kernel": ROWS},
    ),
    "RNN of stacked cells": (
        lambda: L.RNN([L.LSTMCell(4), L.GRUCell(4)]),
        (3, 8),
        {
            "lstm_cell/kernel": ROWS,
            "lstm_cell/recurrent_kernel": ROWS,
            "gru_cell/kernel": ROWS,
            "gru_cell/recurrent_kernel": ROWS,
        },
    ),
    "ConvLSTM1D": (
        lambda: L.ConvLSTM1D(4, 2),
        (2, 4, 8),
        {"kernel": (1, 2), "recurrent_kernel": (1, 2)},
    ),
    "ConvLSTM2D": (
        lambda: L.ConvLSTM2D(4, 2),
        (2, 3, 3, 8),
        {"kernel": (2, 3), "recurrent_kernel": (2, 3)},
    ),
    "Bidirectional": (
        lambda: L.Bidirectional(L.LSTM(4)),
        (3, 8),
        {
            "forward_lstm/lstm_cell/kernel": ROWS,
            "forward_lstm/lstm_cell/recurrent_kernel": ROWS,
            "backward_lstm/lstm_cell/kernel": ROWS,
            "backward_lstm/lstm_cell/recurrent_kernel": ROWS,
        },
    ),
    "TimeDistributed": (lambda: L.TimeDistributed(L.Dense(4)), (3, 8), {"kernel": ROWS}),
    "SpectralNormalization": (
        lambda: L.SpectralNormalization(L.Dense(4)),
        (8,),
        {"kernel": ROWS},
    ),
}


# What makes a difference to a backend; all on the first one.
PORTABLE = ("Dense", "Conv2D", "SeparableConv2D", "EinsumDense to heads", "LSTM", "Bidirectional")
ALL_KINDS = [pytest.param(k, marks=pytest.mark.backend if k in PORTABLE else ()) for k in KINDS]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_layer_computes_trains_saves_and_unwraps_as_itself(kind, tmp_path):
    make, shape, kernels = KINDS[kind]
    x, y = data(4, *shape), data(4, 2)
    plain = around(make(), shape)
    before = array(plain(x))
    model = tfshed.prune_low_magnitude(plain, HALF)
    wrapper = model.layers[1]
    assert isinstance(wrapper, tfshed.PruneLowMagnitude)
    assert wrapper.name == "prune_low_magnitude_" + plain.layers[1].name
    np.testing.assert_array_equal(array(model(x)), before)
    assert len(wrapper.chosen_kernels()) == len(kernels)

    train(model, x, y, epochs=2)
    for weight, mask, _ in wrapper.pruning_vars:
        assert_half_is_zero(weight)
        np.testing.assert_array_equal(array(weight) != 0, array(mask))
    after = array(model(x))
    assert not np.array_equal(after, before)

    path = tmp_path / "wrapped.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(array(loaded(x)), after)
    for (weight, _, _), (saved, _, _) in zip(loaded.layers[1].pruning_vars, wrapper.pruning_vars):
        np.testing.assert_array_equal(array(weight), array(saved))
    assert len(loaded.layers[1].pruning_vars) == len(kernels)

    stripped = tfshed.strip_pruning(model)
    assert [layer.name for layer in stripped.layers] == [layer.name for layer in plain.layers]
    assert [type(layer) for layer in stripped.layers] == [type(layer) for layer in plain.layers]
    np.testing.assert_array_equal(array(stripped(x)), after)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_blocks_lie_along_the_input_channels(kind):
    make, shape, kernels = KINDS[kind]
    layer = make()
    layer.build((None, *shape))
    wrapper = tfshed.PruneLowMagnitude(
        layer, tfshed.PruningConfig(HALF, granularity=tfshed.Block(4, 1))
    )
    found = {kernel.path: kernel for kernel in wrapper.chosen_kernels()}
    assert len(found) == len(kernels)
    tfshed.sparsify(layer, 0.5, scope="layer", granularity=tfshed.Block(4, 1))
    for suffix, (input_axis, output_axis) in kernels.items():
        (kernel,) = [
            k for path, k in found.items() if path == suffix or path.endswith("/" + suffix)
        ]
        weight = np.moveaxis(array(kernel.variable), (input_axis, output_axis), (-2, -1))
        blocks = weight.reshape(*weight.shape[:-2], -1, 4, weight.shape[-1]) != 0
        # All or none of four adjacent input channels of one output channel.
        whole = blocks.all(axis=-2)
        np.testing.assert_array_equal(whole, blocks.any(axis=-2))
        assert np.count_nonzero(whole) == round(whole.size / 2)
        # And the output channels are apart from each other.
        assert not (whole == whole[..., :1]).all()


OFF_BY_DEFAULT = {
    "DepthwiseConv1D": (lambda: L.DepthwiseConv1D(3), (5, 4), "depthwise"),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(2), (3, 3, 4), "depthwise"),
}


@pytest.mark.backend
@pytest.mark.parametrize("kind", OFF_BY_DEFAULT)
def test_a_depthwise_kernel_is_pruned_when_it_is_asked_for(kind):
    make, shape, word = OFF_BY_DEFAULT[kind]
    x, y = data(4, *shape), data(4, 2)
    plain = around(make(), shape)
    name = plain.layers[1].name
    model = tfshed.prune_low_magnitude(plain, HALF)
    assert model.layers[1] is plain.layers[1]
    rows = {row.path: row for row in report_of(model)}
    assert not rows[f"{name}/kernel"].pruned
    assert word in rows[f"{name}/kernel"].reason and "select" in rows[f"{name}/kernel"].reason

    chosen = tfshed.prune_low_magnitude(plain, HALF, select=[(name, True)])
    train(chosen, x, y)
    assert_half_is_zero(chosen.layers[1].get_prunable_weights()[0])

    alone = tfshed.prune_low_magnitude(make(), HALF)
    model = around(alone, shape)
    train(model, x, y)
    assert_half_is_zero(alone.get_prunable_weights()[0])
    assert np.count_nonzero(array(tfshed.strip_pruning(model).layers[1].kernel)) > 0


@pytest.mark.backend
def test_the_depthwise_half_of_a_separable_convolution_is_off_by_default():
    plain = around(L.SeparableConv2D(4, 2, name="sep"), (3, 3, 8))
    rows = {row.path: row.pruned for row in report_of(tfshed.prune_low_magnitude(plain, HALF))}
    assert rows == {
        "sep/depthwise_kernel": False,
        "sep/pointwise_kernel": True,
        "head/kernel": True,
    }
    model = tfshed.prune_low_magnitude(plain, HALF, select="sep/")
    paths = [kernel.path for kernel in model.layers[1].chosen_kernels()]
    assert paths == ["sep/depthwise_kernel", "sep/pointwise_kernel"]
    # A kernel of one input channel has nothing for blocks of input channels.
    rows = report_of(
        tfshed.prune_low_magnitude(plain, HALF, select="sep/", granularity=tfshed.Block(4, 1))
    )
    assert "no axis of input channels" in rows[0].reason


def embedding_model(**kwargs):
    inputs = keras.Input((5,), dtype="int32", name="tokens")
    x = L.Embedding(10, 8, mask_zero=True, name="table", **kwargs)(inputs)
    x = L.LSTM(4, name="lstm")(x)
    return keras.Model(inputs, L.Dense(2, name="head")(x), name="net")


@pytest.mark.backend
def test_an_embedding_is_pruned_by_name_and_keeps_its_mask():
    tokens = np.random.default_rng(0).integers(0, 10, (4, 5))
    tokens[:, 3:] = 0
    plain = embedding_model()
    before = array(plain(tokens))
    untouched = tfshed.prune_low_magnitude(plain, HALF)
    assert untouched.layers[1] is plain.layers[1]
    model = tfshed.prune_low_magnitude(plain, HALF, select="table|lstm")
    np.testing.assert_array_equal(array(model(tokens)), before)
    wrapped = model.layers[1](tokens)
    np.testing.assert_array_equal(array(wrapped._keras_mask), tokens != 0)
    # What is masked away says nothing: other rows of the table behind it, the same output.
    table = plain.layers[1].get_weights()[0]
    table[0] += 1.0
    plain.layers[1].set_weights([table])
    np.testing.assert_array_equal(array(model(tokens)), before)

    train(model, tokens, data(4, 2), epochs=2, eager=False)
    assert_half_is_zero(plain.layers[1].embeddings)
    stripped = tfshed.strip_pruning(model)
    np.testing.assert_array_equal(array(stripped(tokens)), array(model(tokens)))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="IndexedSlices")
@pytest.mark.parametrize("optimizer", ["sgd", "adam", keras.optimizers.SGD(0.1, clipnorm=1.0)])
def test_sparse_gradients_leave_exact_zeros(optimizer):
    tokens = np.random.default_rng(0).integers(0, 10, (8, 5))
    inputs = keras.Input((5,), dtype="int32")
    out = L.Dense(2)(L.Flatten()(L.Embedding(10, 8, name="table")(inputs)))
    model = tfshed.prune_low_magnitude(keras.Model(inputs, out), HALF, select="table")
    if isinstance(optimizer, keras.optimizers.Optimizer):
        optimizer = type(optimizer).from_config(optimizer.get_config())
    train(model, tokens, data(8, 2), epochs=3, eager=False, optimizer=optimizer)
    assert_half_is_zero(model.layers[1].layer.embeddings)


ATTENTION = {
    "MultiHeadAttention": lambda: L.MultiHeadAttention(2, 4, dropout=0.1, name="att"),
    "GroupQueryAttention": lambda: L.GroupQueryAttention(4, 4, 2, name="att"),
}
# Before 3.15 Keras cannot return the scores of grouped attention while a model is declared.
if KERAS < (3, 15):
    del ATTENTION["GroupQueryAttention"]


@pytest.mark.backend
@pytest.mark.parametrize("kind", ATTENTION)
def test_attention_takes_all_that_it_takes_unwrapped(kind, tmp_path):
    q, v, k = keras.Input((3, 8), name="q"), keras.Input((5, 8), name="v"), keras.Input((5, 8))
    m = keras.Input((3, 5), dtype="bool", name="m")
    x, scores = ATTENTION[kind]()(
        q, v, key=k, attention_mask=m, return_attention_scores=True, use_causal_mask=True
    )
    out = L.Dense(2, name="head")(L.Flatten()(x))
    plain = keras.Model([q, v, k, m], [out, scores])
    mask = np.random.default_rng(3).random((4, 3, 5)) < 0.7
    mask[..., 0] = True
    xs = [data(4, 3, 8), data(4, 5, 8, seed=1), data(4, 5, 8, seed=2), mask]
    before = [array(t) for t in plain(xs)]
    model = tfshed.prune_low_magnitude(plain, HALF)
    (wrapper,) = [i for i in model.layers if i.name == "prune_low_magnitude_att"]
    assert len(wrapper.pruning_vars) == 4
    for got, want in zip(model(xs), before):
        np.testing.assert_array_equal(array(got), want)

    # A wrapped layer that is called by itself.
    got = wrapper(
        query=xs[0], value=xs[1], key=xs[2], attention_mask=mask, return_attention_scores=True
    )
    want = wrapper.layer(
        query=xs[0], value=xs[1], key=xs[2], attention_mask=mask, return_attention_scores=True
    )
    for a, b in zip(got, want):
        np.testing.assert_array_equal(array(a), array(b))

    train(model, xs, [data(4, 2), before[1]], loss=["mse", None])
    for weight, _, _ in wrapper.pruning_vars:
        assert_half_is_zero(weight)
    model.save(tmp_path / "wrapped.keras")
    loaded = keras.models.load_model(tmp_path / "wrapped.keras")
    stripped = tfshed.strip_pruning(model)
    for net in (loaded, stripped):
        for got, want in zip(net(xs), model(xs)):
            np.testing.assert_array_equal(array(got), array(want))


@pytest.mark.backend
def test_blocks_in_attention():
    layer = L.MultiHeadAttention(2, 4)
    layer.build((None, 3, 8), (None, 3, 8))
    tfshed.sparsify(layer, 0.5, granularity=tfshed.Block(4, 1), scope="layer")
    for dense, axis in (
        (layer.query_dense, 0),
        (layer.key_dense, 0),
        (layer.value_dense, 0),
        (layer.output_dense, 1),
    ):
        weight = np.moveaxis(array(dense.kernel), axis, -1)
        blocks = weight.reshape(*weight.shape[:-1], -1, 4) != 0
        np.testing.assert_array_equal(blocks.all(-1), blocks.any(-1))


@pytest.mark.backend
def test_a_recurrent_layer_with_states_in_and_out():
    x, h, c = keras.Input((3, 8)), keras.Input((4,)), keras.Input((4,))
    lstm = L.LSTM(4, return_state=True, return_sequences=True, name="lstm")
    seq, last, cell = lstm(x, initial_state=[h, c])
    out = L.Dense(2)(L.Concatenate()([L.Flatten()(seq), last, cell]))
    plain = keras.Model([x, h, c], out)
    xs = [data(4, 3, 8), data(4, 4, seed=1), data(4, 4, seed=2)]
    model = tfshed.prune_low_magnitude(plain, HALF)
    np.testing.assert_array_equal(array(model(xs)), array(plain(xs)))
    train(model, xs, data(4, 2))
    assert_half_is_zero(lstm.cell.recurrent_kernel)
    stripped = tfshed.strip_pruning(model)
    np.testing.assert_array_equal(array(stripped(xs)), array(model(xs)))


@pytest.mark.backend
def test_a_mask_argument_reaches_the_layer():
    x, keep = data(4, 3, 8), np.array([[1, 1, 0]] * 4, bool)
    layer = L.GRU(4)
    layer.build((None, 3, 8))
    wrapper = tfshed.prune_low_magnitude(layer, HALF)
    np.testing.assert_array_equal(array(wrapper(x, mask=keep)), array(layer(x, mask=keep)))
    assert not np.array_equal(array(wrapper(x, mask=keep)), array(wrapper(x)))


@pytest.mark.backend
def test_a_stateful_layer_keeps_its_state():
    inputs = keras.Input(batch_shape=(4, 3, 8))
    lstm = L.LSTM(4, stateful=True, name="lstm")
    model = tfshed.prune_low_magnitude(keras.Model(inputs, L.Dense(2)(lstm(inputs))), HALF)
    x = data(4, 3, 8)
    first, second = array(model(x)), array(model(x))
    assert not np.array_equal(first, second)
    lstm.reset_state()
    np.testing.assert_array_equal(array(model(x)), first)
    # Keras cannot train a stateful layer on PyTorch, wrapped or not.
    if keras.backend.backend() != "torch":
        train(model, x, data(4, 2))
        assert_half_is_zero(lstm.cell.kernel)


PLAIN = {
    "BatchNormalization": (lambda: L.BatchNormalization(), (8,)),
    "LayerNormalization": (lambda: L.LayerNormalization(), (8,)),
    "GroupNormalization": (lambda: L.GroupNormalization(2), (8,)),
    "RMSNormalization": (lambda: L.RMSNormalization(), (8,)),
    "PReLU": (lambda: L.PReLU(), (8,)),
    "Dropout": (lambda: L.Dropout(0.5), (8,)),
    "Rescaling": (lambda: L.Rescaling(0.1), (8,)),
    "Normalization": (lambda: L.Normalization(mean=1.0, variance=2.0), (8,)),
    "Resizing": (lambda: L.Resizing(2, 2), (4, 4, 2)),
    "RandomFlip": (lambda: L.RandomFlip(), (4, 4, 2)),
    "Discretization": (lambda: L.Discretization([-1.0, 0.0, 1.0], output_mode="one_hot"), (8,)),
    "Lambda": (lambda: L.Lambda(lambda x: 2 * x), (8,)),
}
# Before 3.14 Keras declares another shape for its one-hot outputs than it computes.
if KERAS < (3, 14):
    del PLAIN["Discretization"]


@pytest.mark.backend
@pytest.mark.parametrize("kind", PLAIN)
def test_a_layer_without_kernels_passes_by_untouched(kind):
    make, shape = PLAIN[kind]
    x = data(4, *shape)
    plain = around(make(), shape)
    model = tfshed.prune_low_magnitude(plain, HALF)
    assert model.layers[1] is plain.layers[1]
    assert [row.path for row in report_of(model)] == ["head/kernel"]
    if kind != "RandomFlip":
        np.testing.assert_array_equal(array(model(x)), array(plain(x)))
    train(model, x, data(4, 2))
    assert_half_is_zero(plain.layers[-1].kernel)
    # Unbuilt, where the kernels cannot be looked at yet.
    layer = make()
    assert tfshed.prune_low_magnitude(layer, HALF) is layer


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strings are TensorFlow's")
def test_text_goes_through():
    import tensorflow as tf

    vectorize = L.TextVectorization(vocabulary=["a", "b", "c"], output_mode="multi_hot")
    inputs = keras.Input((), dtype="string")
    plain = keras.Model(inputs, L.Dense(2, name="head")(vectorize(inputs)))
    model = tfshed.prune_low_magnitude(plain, HALF)
    assert model.layers[1] is vectorize
    texts = tf.constant(["a b", "c", "b", "d a"])
    train(model, texts, data(4, 2), eager=False)
    assert_half_is_zero(plain.layers[-1].kernel)


@pytest.mark.backend
def test_dropout_inside_a_wrapped_layer_is_off_in_inference_and_on_in_training():
    x = data(16, 3, 8)
    wrapper = tfshed.prune_low_magnitude(L.LSTM(4, dropout=0.5), HALF)
    model = keras.Sequential([keras.Input((3, 8)), wrapper])
    np.testing.assert_array_equal(array(model(x)), array(model(x, training=False)))
    optimizer = tfshed.PruningOptimizer("sgd", model)  # named: a kernel has no owner without it
    optimizer.build(model.trainable_variables)
    assert not np.array_equal(array(model(x, training=True)), array(model(x)))


# Training without pruning.


def small():
    net = keras.Sequential([keras.Input((8,)), L.Dense(4, name="a"), L.Dense(2, name="b")])
    return tfshed.prune_low_magnitude(net, HALF)


@pytest.mark.backend
@pytest.mark.parametrize("eager", [True, False])
def test_training_without_the_callback_is_an_error_that_says_what_to_add(eager):
    model = small()
    model.compile("sgd", "mse", run_eagerly=eager)
    weights = model.get_weights()
    with pytest.raises(RuntimeError, match=r"UpdatePruningStep\(\).*PruningOptimizer"):
        model.fit(data(4, 8), data(4, 2), verbose=0)
    for now, then in zip(model.get_weights(), weights):
        np.testing.assert_array_equal(now, then)
    # And it is mended by what the message says.
    train(model, data(4, 8), data(4, 2))
    assert_half_is_zero(model.layers[0].layer.kernel)


@pytest.mark.backend
def test_inference_needs_no_callback():
    model = small()
    x = data(4, 8)
    model.compile("sgd", "mse")
    model.predict(x, verbose=0)
    model.evaluate(x, data(4, 2), verbose=0)
    for training in (None, False):
        model(x, training=training)
        model.layers[0](x)
    with pytest.raises(RuntimeError, match="prune_low_magnitude_a is trained"):
        model(x, training=True)
    # Nothing is left behind by the error.
    np.testing.assert_array_equal(array(model(x)), model.predict(x, verbose=0))


@pytest.mark.backend
def test_a_preprocessing_layer_does_not_make_a_call_one_of_training():
    # Keras' image layers have training=True as default and tell it to the layers after them.
    plain = around(L.Resizing(2, 2), (4, 4, 2))
    model = tfshed.prune_low_magnitude(plain, HALF)
    x = data(4, 4, 4, 2)
    np.testing.assert_array_equal(array(model(x)), array(plain(x)))
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="UpdatePruningStep"):
        model.fit(x, data(4, 2), verbose=0)


@pytest.mark.backend
def test_a_loaded_model_is_trained_without_the_callback_if_its_optimizer_prunes(tmp_path):
    model = small()
    x, y = data(4, 8), data(4, 2)
    train(model, x, y)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    loaded.fit(x, y, verbose=0)
    assert_half_is_zero(loaded.layers[0].layer.kernel)
    assert loaded.layers[0].pruning_step == 2


# What a wrapper tells about itself.


@pytest.mark.backend
def test_pruning_vars_before_and_after_training():
    model = small()
    (row,) = model.layers[0].pruning_vars
    weight, mask, threshold = row
    assert weight is model.layers[0].layer.kernel
    assert array(mask).all() and array(mask).shape == (8, 4) and array(mask).dtype == bool
    assert array(threshold).shape == () and array(threshold) == 0
    assert model.layers[0].pruning_step == -1
    train(model, data(8, 8), data(8, 2), epochs=3)
    weight, mask, threshold = model.layers[0].pruning_vars[0]
    np.testing.assert_array_equal(array(mask), array(weight) != 0)
    assert np.count_nonzero(array(mask)) == 16
    assert array(threshold).dtype == np.float32
    assert model.layers[0].pruning_step == 6


@pytest.mark.backend
def test_the_threshold_of_a_global_scope_is_in_pruning_vars():
    net = keras.Sequential([keras.Input((8,)), L.Dense(4), L.Dense(2)])
    model = tfshed.prune_low_magnitude(net, tfshed.OneShot(0.5))
    assert array(model.layers[0].pruning_vars[0][2]) == np.float32(1e-4)
    # So slow that nothing falls below the threshold by itself.
    train(model, data(4, 8), data(4, 2), optimizer=keras.optimizers.SGD(1e-6))
    thresholds = {float(array(layer.pruning_vars[0][2])) for layer in model.layers}
    assert len(thresholds) == 1 and thresholds.pop() > 1e-4


@pytest.mark.backend
def test_a_wrapper_has_the_weights_of_its_layer_and_none_of_its_own():
    model = small()
    wrapper = model.layers[0]
    assert [id(v) for v in wrapper.trainable_weights] == [
        id(v) for v in wrapper.layer.trainable_weights
    ]
    assert wrapper.non_trainable_weights == []
    assert wrapper.get_prunable_weights() == [wrapper.layer.kernel]
    assert wrapper.trainable
    wrapper.trainable = False
    assert not wrapper.layer.trainable and wrapper.trainable_weights == []


@pytest.mark.backend
def test_a_wrapper_is_built_again_from_its_config():
    schedule = tfshed.PolynomialDecay(0.1, 0.6, 2, 10, frequency=3)
    wrapper = tfshed.prune_low_magnitude(
        L.Conv2D(4, 3, name="conv"), schedule, (4, 1), "MAX", scope="global", threshold=0.01
    )
    wrapper(data(1, 4, 4, 8))
    config = keras.saving.serialize_keras_object(wrapper)
    again = keras.saving.deserialize_keras_object(config)
    assert again.config == wrapper.config
    assert again.name == wrapper.name and again.layer.name == "conv"
    assert again.config.granularity == tfshed.Block(4, 1, pooling="MAX", pad=True)
    assert again.get_config() == wrapper.get_config()


@pytest.mark.backend
def test_which_kernels_survives_a_round_trip():
    layer = L.LSTM(4, name="lstm")
    layer.build((None, 3, 8))
    wrapper = tfshed.prune_low_magnitude(layer, HALF, select="recurrent_kernel")
    again = tfshed.PruneLowMagnitude.from_config(wrapper.get_config())
    again.build((None, 3, 8))
    assert [k.variable.name for k in again.chosen_kernels()] == ["recurrent_kernel"]


@pytest.mark.backend
def test_a_wrapper_refuses_what_it_cannot_wrap():
    wrapper = tfshed.prune_low_magnitude(L.Dense(2, name="d"), HALF)
    with pytest.raises(ValueError, match="not wrapped yet, received prune_low_magnitude_d"):
        tfshed.PruneLowMagnitude(wrapper, wrapper.config)
    with pytest.raises(TypeError, match="expected a tfshed PruningConfig, received 0.5"):
        tfshed.PruneLowMagnitude(L.Dense(2), 0.5)
