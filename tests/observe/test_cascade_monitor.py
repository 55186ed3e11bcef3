"""CascadeMonitor: its numbers by hand, on all backends, and its file when a run resumes."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest

import tfshed
from tests.nets import JIT, data, group, kernels, net, pruned
from tfshed.observe.extra_pass import batch_norm_lag, gradient_norm

pytestmark = [
    pytest.mark.backend,
    pytest.mark.filterwarnings("ignore:the net has shed itself"),
]


def fit(model, monitor, epochs=2, callbacks=(), **options):
    x, y = data()
    options = {"batch_size": 16, "verbose": 0, "shuffle": False, **options}
    return model.fit(x, y, epochs=epochs, callbacks=[*callbacks, monitor], **options)


class Weights(keras.callbacks.Callback):
    """Keeps the kernels before the last step of each epoch, and after it."""

    def __init__(self):
        super().__init__()
        self.pairs = []

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 3:
            self.before = kernels(self.model)

    def on_epoch_end(self, epoch, logs=None):
        self.pairs.append((self.before, kernels(self.model)))


@pytest.mark.parametrize("jit", JIT)
def test_sizes_are_those_of_the_last_update_of_an_epoch(jit):
    model, weights = pruned(keras.optimizers.SGD(0.05, momentum=0.9), jit=jit), Weights()
    monitor = tfshed.CascadeMonitor()
    history = fit(model, monitor, 3, [tfshed.UpdatePruningStep(), weights]).history
    assert [row["step"] for row in monitor.history] == [4, 8, 12]
    for row, (before, after) in zip(monitor.history, weights.pairs):
        size = np.sqrt(sum(np.sum(np.square(b - a)) for b, a in zip(before, after)))
        norm = np.sqrt(sum(np.sum(np.square(a)) for a in after))
        assert row["update_norm"] == pytest.approx(size, rel=1e-4)
        assert row["weight_norm"] == pytest.approx(norm, rel=1e-5)
        assert row["update_ratio"] == pytest.approx(size / norm, rel=1e-4)
        assert row["gap"] == pytest.approx(row["target"] - row["actual"])
    # After the last epoch the masks and the threshold are still those of the row.
    before, after = weights.pairs[-1]
    threshold = float(keras.ops.convert_to_numpy(group(model).threshold.value)[0])
    near = sum(
        np.count_nonzero((np.abs(a) - threshold <= np.abs(a - b)) & (a != 0))
        for b, a in zip(before, after)
    )
    left = sum(np.count_nonzero(a) for a in after)
    assert monitor.history[-1]["near_threshold"] == pytest.approx(near / left, rel=1e-4)
    assert history["cascade_update_ratio"] == [row["update_ratio"] for row in monitor.history]
    assert "cascade_shed_rate" in history and "cascade_target" not in history


def test_rows_within_epochs_and_of_executions():
    monitor = tfshed.CascadeMonitor(every_steps=3)
    fit(pruned("sgd"), monitor, callbacks=[tfshed.UpdatePruningStep()])
    # Epochs have 4 batches: a row after the third one, and one at the end.
    assert [row["step"] for row in monitor.history] == [3, 4, 7, 8]
    assert all(row["update_ratio"] is not None for row in monitor.history)
    assert monitor.history[0]["shed_rate"] is None and monitor.history[1]["shed_rate"] >= 0
    if keras.backend.backend() == "torch":
        return  # Keras has no executions of several steps there
    several = tfshed.CascadeMonitor(every_steps=2)
    model = pruned("sgd", fit={"steps_per_execution": 4})
    fit(model, several, callbacks=[tfshed.UpdatePruningStep()])
    assert [row["step"] for row in several.history] == [4, 8]
    assert all(row["update_ratio"] > 0 for row in several.history)


def test_the_shed_rate_is_what_was_shed_in_a_step():
    # Decay alone: weights shrink by a fifth in each step, past a threshold that does not move.
    model = tfshed.prune_low_magnitude(
        net(), tfshed.OneShot(0.1, step=2), scope="global", grow_threshold=False, threshold=0.1
    )
    model.compile(keras.optimizers.SGD(0.2, weight_decay=1.0), "mse", jit_compile=JIT[0])
    monitor = tfshed.CascadeMonitor(every_steps=1)
    x, y = data()
    zero = np.zeros_like(x)
    callbacks = [tfshed.UpdatePruningStep(), monitor]
    model.fit(zero, 0 * y, batch_size=16, epochs=2, verbose=0, callbacks=callbacks)
    kept = [row["actual"] for row in monitor.history]
    for row, before, after in zip(monitor.history[2:], kept[1:], kept[2:]):
        assert row["shed_rate"] == pytest.approx(before - after, abs=1e-6)
    assert sum(row["shed_rate"] for row in monitor.history[1:]) > 0.1


def test_a_control_run_and_data_of_unknown_length():
    model = net()
    model.compile("sgd", "mse", jit_compile=JIT[0])
    monitor = tfshed.CascadeMonitor(data=data())
    x, y = data()

    def batches():
        while True:
            yield x[:16], y[:16]

    options = {"epochs": 2, "verbose": 0, "shuffle": False}
    model.fit(batches(), steps_per_epoch=4, callbacks=[monitor], **options)
    assert [row["target"] for row in monitor.history] == [1.0, 1.0]
    assert monitor.history[1]["update_ratio"] > 0 and monitor.history[1]["gradient_norm"] > 0
    assert monitor.history[1]["threshold"] == pytest.approx(1e-4)


def test_the_gradient_is_that_of_the_compiled_loss():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, use_bias=False)])
    model.compile("sgd", "mse", jit_compile=JIT[0])
    x, y = data()
    w = kernels(model)[0]
    by_hand = 2 / y.size * x.T @ (x @ w - y)
    found = gradient_norm(model, x, y)
    assert found == pytest.approx(float(np.linalg.norm(by_hand)), rel=1e-4)
    np.testing.assert_array_equal(kernels(model)[0], w)


def test_batch_norm_lag_leaves_the_model_as_it_was():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6,)), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)).astype("float32") * 3 + 5
    y = x[:, :3].argmax(axis=1)
    # The net that would be right with the statistics of the batch.
    model.layers[-1].set_weights([np.eye(6, 3, dtype="float32"), np.zeros(3, "float32")])
    model.layers[0].set_weights(
        [np.ones(6), np.zeros(6), np.array([50, 0, 0, 0, 0, 0.0]), np.ones(6)]
    )
    before = model.get_weights()
    lag = batch_norm_lag(model, x, y)
    assert lag > 0.2
    one_hot = np.eye(3)[y]
    assert batch_norm_lag(model, x, one_hot) == pytest.approx(lag)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_the_file_continues_and_begins_anew(tmp_path):
    model = pruned("sgd")
    callbacks = [tfshed.UpdatePruningStep()]
    fit(model, tfshed.CascadeMonitor(tmp_path), 2, callbacks)
    second = tfshed.CascadeMonitor(tmp_path)
    fit(model, second, 3, callbacks, initial_epoch=2)
    with (tmp_path / "cascade.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["4", "8", "12"]
    assert [row["step"] for row in second.history] == [4, 8, 12]
    fit(pruned("sgd"), tfshed.CascadeMonitor(tmp_path), 1, [tfshed.UpdatePruningStep()])
    with (tmp_path / "cascade.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["4"]


@pytest.mark.parametrize("granularity", [tfshed.Block(2, 1), tfshed.Filter()])
def test_blocks_and_shadow_masks(granularity):
    model = pruned("sgd", granularity=granularity, observe=True)
    monitor = tfshed.CascadeMonitor()
    fit(model, monitor, callbacks=[tfshed.UpdatePruningStep()])
    last = monitor.history[-1]
    assert last["target"] == pytest.approx(0.25) and 0 <= last["near_threshold"] <= 1
    assert last["actual"] < 0.5 and all(w.all() for w in kernels(model))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"directory": ""}, "directory: expected a path"),
        ({"every_steps": 0}, "every_steps: expected"),
        ({"data": np.ones(3)}, r"data: expected \(x, y\)"),
        ({"batch_norm": True}, "batch_norm: expected False without data"),
        ({"control_threshold": -1}, "control_threshold: expected"),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        tfshed.CascadeMonitor(**arguments)
