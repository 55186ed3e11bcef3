"""What goes wrong in tensorflow_model_optimization 0.8, and not here: one test for each defect."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L

import tfshed
from tests.nets import array, kept
from tests.nets import normal as data

HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)
prune = tfshed.prune_low_magnitude


def fit(model, x, y, *callbacks, epochs=1, optimizer="sgd", before=()):
    # Compiling costs TensorFlow more than training nets as small as these, and JAX less.
    eager = keras.backend.backend() != "jax"
    model.compile(optimizer, keras.losses.MeanSquaredError(), run_eagerly=eager)
    every = [*before, tfshed.UpdatePruningStep(), *callbacks]
    model.fit(x, y, epochs=epochs, batch_size=4, verbose=0, callbacks=every)
    return model


def net(*layers, shape=(8,)):
    return keras.Sequential([keras.Input(shape), *layers], name="net")


def test_mixed_precision_does_not_round_the_float32_weights():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    plain = net(L.Dense(8, name="a"), L.Dense(2, dtype="float32", name="head"))
    model = prune(plain, tfshed.ConstantSparsity(0.5, 1000))
    before = plain.get_weights()
    assert (before[0] != before[0].astype("float16")).any()
    x = data(4, 8)
    assert array(model(x)).dtype == np.float32
    model.compile("sgd", "mse", run_eagerly=True)
    model.predict(x, verbose=0)
    optimizer = tfshed.PruningOptimizer("sgd", model)
    optimizer.build(model.trainable_variables)
    model(x, training=True)
    for now, then in zip(plain.get_weights(), before):
        np.testing.assert_array_equal(now, then)


def test_an_embedding_keeps_its_mask():
    wrapped = prune(L.Embedding(10, 4, mask_zero=True), HALF)
    tokens = np.array([[1, 2, 0, 0]])
    assert wrapped.supports_masking
    np.testing.assert_array_equal(array(wrapped(tokens)._keras_mask), tokens != 0)
    np.testing.assert_array_equal(array(wrapped.compute_mask(tokens)), tokens != 0)


def test_an_activity_regularizer_counts_once():
    plain = net(L.Dense(4, activity_regularizer=keras.regularizers.L2(0.1), name="a"))
    model = prune(plain, HALF)
    plain(data(4, 8))
    model(data(4, 8))
    assert len(model.losses) == len(plain.losses) == 1
    assert float(array(model.losses[0])) == float(array(plain.losses[0])) > 0
    fit(model, data(4, 8), data(4, 4))
    assert kept(plain.layers[0].kernel) == 0.5


def test_m_by_n_survives_a_save(tmp_path):
    model = fit(prune(net(L.Dense(4)), HALF, sparsity_m_by_n=(3, 4)), data(4, 8), data(4, 4))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.layers[0].config.granularity == tfshed.NxM(1, 4)
    loaded.fit(data(4, 8), data(4, 4), verbose=0)
    groups = array(loaded.layers[0].layer.kernel).T.reshape(4, 2, 4)
    assert (np.count_nonzero(groups, axis=-1) == 1).all()


@pytest.mark.parametrize(
    "schedule",
    [
        tfshed.ConstantSparsity(0.5, 2, 9, 3),
        tfshed.PolynomialDecay(0.1, 0.8, 2, 9, 2.0, 3),
    ],
)
def test_schedules_are_built_again_from_their_config(schedule):
    assert type(schedule).from_config(schedule.get_config()) == schedule
    nested = {"class_name": type(schedule).__name__, "config": schedule.get_config()}
    assert tfshed.PruningSchedule.from_config(nested) == schedule


def test_a_polynomial_of_no_length_is_no_nan():
    model = prune(net(L.Dense(4)), tfshed.PolynomialDecay(0.0, 0.5, 2, 2))
    fit(model, data(12, 8), data(12, 4))
    assert kept(model.layers[0].layer.kernel) == 0.5


def test_the_final_sparsity_is_reached_whatever_the_frequency():
    schedule = tfshed.PolynomialDecay(0.0, 0.75, 0, 5, frequency=3)
    model = fit(prune(net(L.Dense(4)), schedule), data(20, 8), data(20, 4))
    assert kept(model.layers[0].layer.kernel) == 0.25


def test_begin_step_0_prunes_in_the_first_step():
    model = prune(net(L.Dense(4)), tfshed.ConstantSparsity(0.5, begin_step=0, frequency=100))
    fit(model, data(4, 8), data(4, 4))
    assert kept(model.layers[0].layer.kernel) == 0.5


def test_stripping_tells_of_dense_weights_and_changes_no_output():
    plain = net(L.Dense(4))
    model = fit(prune(plain, HALF), data(4, 8), data(4, 4))
    plain.layers[0].kernel.assign(np.ones((8, 4), "float32"))
    with pytest.warns(UserWarning, match="16 weights under the masks are not zero"):
        stripped = tfshed.strip_pruning(model)
    np.testing.assert_array_equal(array(stripped.layers[0].kernel), 1.0)


def test_a_checkpoint_before_the_pruning_callback_is_sparse(tmp_path):
    path = tmp_path / "c.weights.h5"
    model = prune(net(L.Dense(4)), HALF)
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=1)
    fit(model, data(12, 8), data(12, 4), before=[checkpoint])
    fresh = keras.models.clone_model(model)
    fresh.load_weights(path)
    assert kept(fresh.layers[0].layer.kernel) == 0.5


def test_a_reused_layer_counts_a_step_once():
    inputs = keras.Input((8,))
    shared = L.Dense(8, name="shared")
    model = prune(keras.Model(inputs, shared(shared(shared(inputs)))), HALF)
    fit(model, data(8, 8), data(8, 8))
    assert model.get_layer("prune_low_magnitude_shared").pruning_step == 2


def test_frozen_layers_are_not_pruned():
    plain = net(L.Dense(8, trainable=False, name="frozen"), L.Dense(2, name="head"))
    before = plain.layers[0].get_weights()[0]
    fit(prune(plain, HALF), data(4, 8), data(4, 2))
    np.testing.assert_array_equal(plain.layers[0].get_weights()[0], before)
    assert kept(plain.layers[1].kernel) == 0.5


def test_inference_writes_no_weights():
    plain = net(L.Dense(4))
    model = fit(prune(plain, HALF), data(4, 8), data(4, 4))
    plain.layers[0].kernel.assign(np.ones((8, 4), "float32"))
    model.predict(data(4, 8), verbose=0)
    model.evaluate(data(4, 8), data(4, 4), verbose=0)
    model(data(4, 8))
    model(data(4, 8), training=False)
    assert (array(plain.layers[0].kernel) == 1).all()


REFUSED = {
    "Rescaling": (lambda: L.Rescaling(0.5), (8,)),
    "Resizing": (lambda: L.Resizing(2, 2), (4, 4, 2)),
    "Normalization": (lambda: L.Normalization(mean=0.0, variance=1.0), (8,)),
    "Bidirectional": (lambda: L.Bidirectional(L.LSTM(2)), (3, 4)),
    "TimeDistributed": (lambda: L.TimeDistributed(L.Dense(2)), (3, 4)),
    "ConvLSTM1D": (lambda: L.ConvLSTM1D(2, 2), (2, 4, 2)),
    "ConvLSTM2D": (lambda: L.ConvLSTM2D(2, 2), (2, 3, 3, 2)),
    "PReLU": (lambda: L.PReLU(), (8,)),
    "EinsumDense": (lambda: L.EinsumDense("ab,bc->ac", output_shape=4), (8,)),
    "GroupNormalization": (lambda: L.GroupNormalization(2), (8,)),
    "UnitNormalization": (lambda: L.UnitNormalization(), (8,)),
    "Discretization": (lambda: L.Discretization([0.0], output_mode="one_hot"), (8,)),
    "SpectralNormalization": (lambda: L.SpectralNormalization(L.Dense(4)), (8,)),
    "RandomContrast": (lambda: L.RandomContrast(0.1, value_range=(-1, 1)), (4, 4, 3)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_no_layer_is_refused(kind):
    make, shape = REFUSED[kind]
    plain = net(make(), L.Flatten(), L.Dense(2), shape=shape)
    fit(prune(plain, HALF), data(4, *shape), data(4, 2))
    for variable in plain.trainable_variables:
        if variable.name in ("kernel", "recurrent_kernel"):
            assert kept(variable) == 0.5


def test_blocks_of_a_convolution():
    plain = net(L.Conv2D(4, 2, name="conv"), L.Flatten(), L.Dense(2), shape=(3, 3, 8))
    fit(prune(plain, HALF, (4, 1), "MAX", select="conv"), data(4, 3, 3, 8), data(4, 2))
    blocks = array(plain.layers[0].kernel).reshape(2, 2, 2, 4, 4) != 0
    np.testing.assert_array_equal(blocks.all(axis=3), blocks.any(axis=3))
    assert np.count_nonzero(blocks.all(axis=3)) == 16


def test_a_depthwise_convolution_is_pruned_when_asked_for():
    plain = net(prune(L.DepthwiseConv2D(2), HALF), L.Flatten(), L.Dense(2), shape=(3, 3, 4))
    fit(plain, data(4, 3, 3, 4), data(4, 2))
    assert kept(plain.layers[0].layer.kernel) == 0.5


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_layers_of_several_kernels_follow_the_scope(scope):
    plain = net(L.LSTM(4, name="lstm"), shape=(3, 8))
    kernel, recurrent = plain.layers[0].cell.kernel, plain.layers[0].cell.recurrent_kernel
    recurrent.assign(array(recurrent) * 10)
    fit(prune(plain, HALF, scope=scope, threshold=0.0), data(4, 3, 8), data(4, 4))
    if scope == "layer":
        assert kept(kernel) == kept(recurrent) == 0.5
    else:
        assert kept(kernel) < 0.4 < 0.6 < kept(recurrent)
        assert np.count_nonzero(array(kernel)) + np.count_nonzero(array(recurrent)) == 96


@pytest.mark.parametrize("optimizer", ["adam", keras.optimizers.SGD])
def test_what_is_pruned_does_not_come_back(optimizer):
    if not isinstance(optimizer, str):
        optimizer = optimizer(0.1, momentum=0.9)
    plain = net(L.Dense(4))
    model = prune(plain, tfshed.PolynomialDecay(0.25, 0.75, 0, 12, frequency=3))
    zeros = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            # JAX holds the live values in the trainer's state.
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()
            zeros.append(array(plain.layers[0].kernel) == 0)

    fit(model, data(16, 8), data(16, 4), Watch(), epochs=4, optimizer=optimizer)
    assert len(zeros) == 16 and zeros[-1].sum() == 24 > zeros[0].sum()
    for before, after in zip(zeros, zeros[1:]):
        assert after[before].all()
