"""The loop for several workers calls, logs and trains as Keras' `fit` does, in one process."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.nets import BACKEND, data

if BACKEND != "tensorflow":
    pytest.skip("tf.distribute", allow_module_level=True)

import tensorflow as tf

from tfshed.distribution import loops, worker_loop
from tfshed.distribution.agreement import agreed_overflow, check_same_on_all, gather_from_workers
from tfshed.distribution.worker_evaluate import WorkerEvaluation, build, per_replica


class Calls(keras.callbacks.Callback):
    """Writes down every call with its logs."""

    def __init__(self):
        super().__init__()
        self.seen = []


def _recorder(name):
    def record(self, *args, **kwargs):
        logs = kwargs.get("logs", args[-1] if args and isinstance(args[-1], dict) else None)
        number = [a for a in args if isinstance(a, int)]
        self.seen.append((name, *number, {k: round(float(v), 4) for k, v in (logs or {}).items()}))

    return record


for _when in ("train", "test", "epoch", "train_batch", "test_batch"):
    for _edge in ("begin", "end"):
        setattr(Calls, f"on_{_when}_{_edge}", _recorder(f"{_when}_{_edge}"))


class StopAt(keras.callbacks.Callback):
    def __init__(self, epoch=None, batch=None):
        super().__init__()
        self.at = (epoch, batch)

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.at[0]:
            self.model.stop_training = True

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.at[1]:
            self.model.stop_training = True


def one_device():
    return tf.distribute.OneDeviceStrategy("CPU:0").scope()


def mirrored():
    # As in conftest.py: this strategy's collectives are not those of the one before.
    tf.distribute.MirroredStrategy._collective_key_base += 100000
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()


def dataset(n=64, batch=16, weights=False, repeat=True):
    x, y = data(n)
    parts = (x, y, np.linspace(0.5, 1.5, n, dtype="float32")) if weights else (x, y)
    made = tf.data.Dataset.from_tensor_slices(parts)
    return (made.repeat() if repeat else made).batch(batch)


def trained(fit, scope=one_device, callbacks=(), weights=False, normalise=True, **options):
    keras.utils.set_random_seed(0)
    with scope():
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(0.01)),
                *([keras.layers.BatchNormalization()] if normalise else []),
                keras.layers.Dense(3),
            ]
        )
        model.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            "mse",
            metrics=["mae"],
            weighted_metrics=["mse"],
            jit_compile=False,
        )
    calls = Calls()
    options = {
        "epochs": 3,
        "steps_per_epoch": 3,
        "validation_data": dataset(40, weights=weights, repeat=False),
        "validation_freq": 2,
        **options,
    }
    history = fit(
        model,
        dataset(weights=weights),
        callbacks=[calls, *callbacks],
        verbose=0,
        **options,
    )
    return model, calls.seen, history


def keras_own(model, batches, **options):
    return model.fit(batches, shuffle=False, **options)


def ours(model, batches, **options):
    full = {"initial_epoch": 0, "validation_steps": None} | options
    return worker_loop.fit(model, batches, **full)


@pytest.mark.parametrize("scope", [one_device, mirrored])
def test_it_is_fit(scope):
    # Keras leaves each replica its own statistics of the batches: those differ on purpose.
    one = scope is one_device
    ask = {"weights": not one, "normalise": one, "callbacks": [StopAt(epoch=1)]}
    wanted, calls, history = trained(keras_own, scope, **ask)
    model, ours_called, ours_history = trained(ours, scope, **ask)
    assert [c[:-1] for c in ours_called] == [c[:-1] for c in calls]
    for mine, wanted_call in zip(ours_called, calls):
        # Keras evaluates two replicas in step; here each of them has a share of its own.
        if mine[0] != "test_batch_end" or scope is not mirrored:
            assert mine[-1] == pytest.approx(wanted_call[-1], rel=2e-4, abs=2e-4), mine[0]
    assert ours_history.epoch == history.epoch == [0, 1]
    assert ours_history.params == history.params
    assert set(ours_history.history) == set(history.history)
    for a, b in zip(model.variables, wanted.variables):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6, err_msg=a.path)


def test_a_stop_within_an_epoch_takes_effect_after_the_next_batch():
    _, calls, _ = trained(ours, callbacks=[StopAt(batch=0)])
    assert [c[1] for c in calls if c[0] == "train_batch_end"] == [0, 1]
    assert [c[0] for c in calls[-2:]] == ["epoch_end", "train_end"]


def test_one_iterator_goes_on_over_epochs_and_its_end_stops_an_epoch():
    seen = []

    def numbers():
        for i in range(5):
            seen.append(i)
            yield np.full((2, 1), i, "float32"), np.zeros((2, 1), "float32")

    spec = tf.TensorSpec((None, 1))
    batches = tf.data.Dataset.from_generator(numbers, output_signature=(spec, spec))
    with one_device():
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")]
        )
        model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    options = {"validation_data": None, "validation_freq": 1, "callbacks": None, "verbose": 0}
    with pytest.warns(UserWarning, match="ended within an epoch"):
        history = ours(model, batches, epochs=4, steps_per_epoch=2, **options)
    np.testing.assert_allclose(history.history["loss"], [0.5, 6.5, 16.0, 0.5])
    assert seen[:7] == [0, 1, 2, 3, 4, 0, 1]  # and what is fetched ahead
    history = ours(model, batches, epochs=2, steps_per_epoch=None, **options)
    np.testing.assert_allclose(history.history["loss"], [6.0, 6.0])
    with pytest.raises(ValueError, match="expected batches for every worker"):
        ours(model, batches.take(0), epochs=1, steps_per_epoch=2, **options)


def test_backup_and_restore_goes_on_where_it_was(tmp_path):
    """It leaves the epoch to go on with in a private attribute of the model."""

    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(KeyboardInterrupt):
        trained(ours, callbacks=[backup(), Break()])
    resumed, calls, _ = trained(ours, callbacks=[backup()])
    assert [c[1] for c in calls if c[0] == "epoch_begin"] == [2]
    assert int(resumed.optimizer.iterations.numpy()) == 9


def test_evaluation_of_uneven_shares_is_exact():
    keras.utils.set_random_seed(0)
    with mirrored():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        model.compile("sgd", "mse", metrics=["mae"], jit_compile=False)
    batches = dataset(7, 3, repeat=False)  # 3, 3 and 1: shares of 1 and 2, of 0 and 1
    build(model, batches)
    found = WorkerEvaluation(model).run(batches, None)
    x, y = data(7)
    error = model.predict(x, verbose=0) - y
    assert found == pytest.approx(
        {"loss": np.mean(error**2), "mae": np.mean(np.abs(error))}, rel=1e-5
    )


def test_uneven_batches_are_refused_in_training():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with pytest.raises(ValueError, match=r"2 replicas can share evenly.*one of 7"):
        per_replica(strategy, (tf.ones((7, 2)), tf.ones((7, 1))), exact=True)


def test_overflow_of_one_replica_skips_the_step_of_all():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        variable = keras.Variable([1.0, 1.0])
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), 8.0)
        optimizer.build([variable])

    @tf.function
    def step(bad):
        def replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            grad = tf.where(number == bad, np.inf, 8.0) * tf.ones(2)
            optimizer.apply([grad], [variable])

        strategy.run(replica)

    with agreed_overflow(optimizer):
        step(tf.constant(1))
        assert variable.numpy().tolist() == [1.0, 1.0]
        assert float(optimizer.dynamic_scale.numpy()) == 4.0
        step(tf.constant(2))
        assert variable.numpy().tolist() == [-3.0, -3.0]
    assert "check_finite" not in vars(optimizer)


def test_workers_that_differ_are_an_error():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    ask = gather_from_workers(strategy)
    assert ask([3.0, 1.0]).tolist() == [[3.0, 1.0]] * 2
    check_same_on_all(ask, {"epochs": 3, "verbose": 1})
    with pytest.raises(ValueError, match=r"epochs: expected the same.*\[3.0, 4.0\]"):
        check_same_on_all(lambda _: np.array([[3.0], [4.0]]), {"epochs": 3})


@pytest.mark.parametrize("option", ["steps_per_execution", "run_eagerly", "gradient_accumulation"])
def test_what_several_workers_cannot_do(option):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    accumulate = {"gradient_accumulation_steps": 2} if option == "gradient_accumulation" else {}
    options = {} if accumulate else {option: 2 if option == "steps_per_execution" else True}
    model.compile(keras.optimizers.SGD(**accumulate), "mse", **options)
    with pytest.raises(ValueError, match=f"multi_worker: expected {option}.* received (2|True)"):
        loops._check(model)
