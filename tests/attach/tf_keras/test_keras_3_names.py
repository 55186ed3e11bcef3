"""Names for tfmot's users that hold on every backend of Keras 3."""

from __future__ import annotations

import keras
import pytest
from keras import layers as L

import tfshed
from tests.nets import array, data, kept, net

pytestmark = pytest.mark.backend


def test_an_earlier_schedule_is_another_one_moved():
    inner = tfshed.PolynomialDecay(0.0, 0.8, 4, 10, frequency=3)
    earlier = tfshed.EarlierSchedule(inner, 2)
    assert [earlier(step) for step in range(12)] == [inner(step + 2) for step in range(12)]
    assert earlier.default_scope == "layer" and earlier.final_sparsity == 0.8
    assert tfshed.EarlierSchedule(tfshed.OneShot(0.5)).default_scope == "global"
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(earlier))
    assert again == earlier != tfshed.EarlierSchedule(inner)
    for wrong in ((3, 1), (inner, -1), (inner, 1.5)):
        with pytest.raises(ValueError, match="expected"):
            tfshed.EarlierSchedule(*wrong)


def test_ahead_in_training(tmp_path):
    model = tfshed.prune_low_magnitude(
        net(), tfshed.EarlierSchedule(tfshed.ConstantSparsity(0.5, 3)), monotone=False
    )
    eager = keras.backend.backend() != "jax"
    model.compile("sgd", keras.losses.MeanSquaredError(), run_eagerly=eager)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()
            seen.append(kept(model.layers[0].layer.kernel))

    x, y = data(32)
    callbacks = [tfshed.UpdatePruningStep(), Look()]
    model.fit(x, y, batch_size=8, verbose=0, callbacks=callbacks)
    assert seen == [1.0, 0.5, 0.5, 0.5]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].config == model.layers[0].config


def test_registry_and_wrappers():
    lstm = L.LSTM(4)
    lstm.build((None, 3, 2))
    assert tfshed.PruneRegistry.supports(lstm) and not tfshed.PruneRegistry.supports("lstm")
    weights = tfshed.PruneRegistry.make_prunable(lstm).get_prunable_weights()
    assert [array(w).shape for w in weights] == [(2, 16), (4, 16)]
    model = tfshed.prune_low_magnitude(net(), tfshed.OneShot(0.5))
    names = [wrapper.name for wrapper in tfshed.collect_prunable_layers(model)]
    assert names == ["prune_low_magnitude_hidden", "prune_low_magnitude_head"]


def test_the_latency_policy():
    def build(size):
        layers = [
            keras.Input((8, 8, 3)),
            L.ZeroPadding2D(1),
            L.Conv2D(4, 3, strides=2, name="start"),
            L.ReLU(),
            L.Conv2D(4, size, name="point"),
            L.GlobalAveragePooling2D(),
            L.Dense(2, name="head"),
        ]
        return keras.Sequential(layers)

    policy = tfshed.PruneForLatencyOnXNNPack()
    model = tfshed.prune_low_magnitude(build(1), tfshed.OneShot(0.5), pruning_policy=policy)
    found = [layer.name for layer in tfshed.collect_prunable_layers(model)]
    assert found == ["prune_low_magnitude_point"]
    # Seen through the wrapper.
    policy.ensure_model_supports_pruning(model)
    with pytest.raises(ValueError, match="received Conv2D point"):
        policy.ensure_model_supports_pruning(build(3))
