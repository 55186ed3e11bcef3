"""A tf_keras model that is written in the middle of pruning is sparse, and goes on from there."""

from __future__ import annotations

import numpy as np
import pytest

import tfshed
from tests.attach.tf_keras.nets import data, fit, keep, net, prune, real, schedule, tf_keras
from tfshed import tfmot

pytestmark = [
    pytest.mark.filterwarnings("ignore:the net has shed itself"),
    pytest.mark.filterwarnings("ignore:training ended before the pruning schedule"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5"),
]
SAVED = {
    ".h5": {},
    ".keras": {"granularity": tfshed.Block(2, 1), "criterion": "random", "threshold": 0.0},
    "": {"scope": "layer", "monotone": False},
}


def values(model):
    return [w.numpy() for w in model.weights]


@pytest.mark.parametrize("kind", SAVED)
def test_a_saved_model_goes_on_without_a_scope(kind, tmp_path):
    # Plain tf_keras loses the momentum in a SavedModel: without any, all of it is there.
    optimizer = tf_keras.optimizers.SGD(0.02, momentum=0.9 if kind else 0.0)
    model = prune(net(), schedule(), **SAVED[kind])
    fit(model, optimizer=optimizer, epochs=1, callbacks=[tfmot.UpdatePruningStep()])
    model.save(tmp_path / f"model{kind}")
    loaded = tf_keras.models.load_model(tmp_path / f"model{kind}")
    wrapper = loaded.layers[0]
    assert type(wrapper) is tfmot.PruneLowMagnitude and int(wrapper.pruning_step) == 4
    assert wrapper.config == model.layers[0].config
    for ours, theirs in zip(values(model), values(loaded), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # tfmot's callback alone knows nothing of a model that comes from a file.
    if kind == ".h5":
        with pytest.raises(RuntimeError, match="tfshed.tfmot.UpdatePruningStep"):
            loaded.fit(*data(), verbose=0, callbacks=[real.UpdatePruningStep()])
    for each in (model, loaded):
        fit(each, optimizer=False, epochs=2, callbacks=[tfmot.UpdatePruningStep()])
    assert 0 < keep(model) < 0.3
    for ours, theirs in zip(values(model), values(loaded)):
        np.testing.assert_array_equal(ours, theirs)
    with real.prune_scope():
        assert tf_keras.models.load_model(tmp_path / f"model{kind}") is not None


def test_a_schedule_of_tfmot_is_saved(tmp_path):
    model = prune(net(), real.PolynomialDecay(0.0, 0.8, 2, 11, frequency=3))
    model.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras").layers[0].config
    assert type(loaded.schedule) is real.PolynomialDecay
    assert loaded.schedule.get_config() == model.layers[0].config.schedule.get_config()


class Crash(tf_keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_backup_and_restore_is_exact(tmp_path):
    def run(*callbacks):
        # Each kernel's state has a name of its own, so that a checkpoint has all of it.
        inputs = tf_keras.Input((2, 3))
        outputs = tf_keras.layers.Dense(3)(tf_keras.layers.LSTM(4)(inputs))
        model = prune(tf_keras.Model(inputs, outputs), tfshed.LinearDecay(0.75, 14, frequency=2))
        x, y = data(2, 3)
        every = [*callbacks, tfmot.UpdatePruningStep()]
        fit(model, x, y, epochs=4, callbacks=every, run_eagerly=True)
        return model

    def seeded(*callbacks):
        tf_keras.utils.set_random_seed(0)
        return run(*callbacks)

    def backup():
        return tf_keras.callbacks.BackupAndRestore(str(tmp_path), delete_checkpoint=False)

    straight = seeded()
    with pytest.raises(KeyboardInterrupt):
        seeded(backup(), Crash())
    resumed = run(backup())
    for ours, theirs in zip(values(straight), values(resumed), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert int(resumed.layers[1].pruning_step) == 16 and keep(resumed) < 0.3


def test_checkpoints_are_sparse_whatever_the_order(tmp_path):
    path = str(tmp_path / "{epoch}-{batch}.weights.h5")
    before = tf_keras.callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=1)
    model = prune(net(), tfshed.ConstantSparsity(0.75, 0, frequency=1))
    callbacks = [before, tfmot.UpdatePruningStep()]
    fit(model, epochs=1, callbacks=callbacks, run_eagerly=True)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    for file in files:
        fresh = prune(net(), tfshed.ConstantSparsity(0.75, 0, frequency=1))
        fresh.load_weights(str(file))
        assert keep(fresh) == 0.25


# Under loss scaling plain tf_keras keeps an optimizer only in the format of its own generation.
@pytest.mark.parametrize(
    "kind, legacy, keeps_the_optimizer",
    [(".keras", False, True), (".h5", True, True), (".h5", False, False), (".keras", True, False)],
)
def test_mixed_precision_goes_on_where_it_was(kind, legacy, keeps_the_optimizer, tmp_path):
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    home = tf_keras.optimizers.legacy if legacy else tf_keras.optimizers
    model = prune(net(dtype="float32"), schedule(), threshold=0.0)
    fit(model, optimizer=home.SGD(0.02, momentum=0.9), epochs=1, run_eagerly=True)
    assert 0.4 < keep(model) < 0.9
    model.save(tmp_path / f"model{kind}")
    loaded = tf_keras.models.load_model(tmp_path / f"model{kind}")
    assert int(loaded.optimizer.iterations) == (4 if keeps_the_optimizer else 0)
    for ours, theirs in zip(values(model), values(loaded), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # The schedule goes on in any case: its step is in the wrappers.
    assert int(loaded.layers[0].pruning_step) == 4
    for each in (model, loaded):
        each.run_eagerly = True
        fit(each, optimizer=False, epochs=1)
        assert keep(each) == pytest.approx(0.25, abs=0.003)
        assert int(each.layers[0].pruning_step) == 8
    for ours, theirs in zip(values(model), values(loaded)):
        if keeps_the_optimizer:
            np.testing.assert_array_equal(ours, theirs)
