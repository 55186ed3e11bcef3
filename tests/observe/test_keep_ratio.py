"""`KeepRatio` against an independent recount of the weights after every batch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import tfshed
from tfshed.observe import probe
from tfshed.observe.csv_table import CsvTable, read_table

BATCH, BATCHES = 4, 10
# These runs shed on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:the net has shed itself")


def data(batches: int = BATCHES) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * batches, 8)).astype("float32")
    return x, np.tanh(x @ rng.normal(size=(8, 4))).astype("float32")


def net(name: str = "net") -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(16, activation="relu", name="a"), keras.layers.Dense(4, name="b")]
    return keras.Sequential([keras.Input((8,)), *layers], name=name)


def sgd(**kwargs: Any) -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.1, momentum=0.9, **kwargs)


def pruned(schedule: Any, optimizer: Any = None, **compile_args: Any) -> keras.Model:
    model = tfshed.prune_low_magnitude(net(), schedule, scope="global")
    model.compile(optimizer or sgd(), "mse", **compile_args)
    return model


def linear(frequency: int) -> tfshed.LinearDecay:
    return tfshed.LinearDecay(0.8, end_step=18, begin_step=2, frequency=frequency)


class Recount(keras.callbacks.Callback):
    """Counts with NumPy what is not zero after each execution: by kernel, at each batch number."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int, dict[str, float]]] = []
        self.before = self.batches = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.before = self.batches

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches = self.before + batch + 1
        model = self.model
        kernels = {
            v.path: ops.convert_to_numpy(v) for v in model.weights if v.path.endswith("kernel")
        }
        kept = {path: float(np.mean(w != 0)) for path, w in kernels.items()}
        total = sum(w.size for w in kernels.values())
        kept["all"] = sum(np.count_nonzero(w) for w in kernels.values()) / total
        kept["small"] = sum((np.abs(w) < 0.02).sum() for w in kernels.values()) / total
        steps = int(ops.convert_to_numpy(model.optimizer.iterations))
        self.seen.append((self.batches, steps, kept))

    def after_batch(self, number: int) -> dict[str, float]:
        """Once this many batches were run, or the first few more that ran in one piece."""
        return next(kept for batches, _, kept in self.seen if batches >= number)

    def after_step(self, number: int) -> dict[str, float]:
        return next(kept for _, steps, kept in self.seen if steps >= number)


def fit(
    model: Any, callbacks: list[Any], epochs: int = 2, batches: int = BATCHES, **args: Any
) -> Any:
    x, y = data(batches)
    return model.fit(
        x, y, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **args
    )


def updates(keep: tfshed.KeepRatio) -> list[dict[str, Any]]:
    return [row for row in keep.history if row["event"] == "update"]


@pytest.mark.backend
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_rows_agree_with_a_recount_wherever_the_callback_stands(first: bool) -> None:
    schedule = linear(3)
    keep, recount, update = tfshed.KeepRatio(), Recount(), tfshed.UpdatePruningStep()
    model = pruned(schedule)
    fit(model, [keep, update, recount] if first else [recount, update, keep])

    assert [row["step"] for row in updates(keep)] == [2, 5, 8, 11, 14, 17, 18]
    assert [(r["step"], r["epoch"]) for r in keep.history if r["event"] == "epoch"] == [
        (10, 0),
        (20, 1),
    ]
    total = 8 * 16 + 16 * 4
    shed_before = 0
    for row in keep.history:
        truth = recount.after_batch(row["step"])
        assert row["actual"] == pytest.approx(truth["all"])
        assert row["kernels"] == {p: pytest.approx(truth[p]) for p in row["kernels"]}
        assert len(row["kernels"]) == 2
        if row["event"] == "update":
            assert row["target"] == pytest.approx(schedule.keep_ratio(row["step"]), abs=1e-6)
        assert row["gap"] == pytest.approx(row["target"] - row["actual"])
        assert row["scheduled"] + row["shed"] + round(row["actual"] * total) == total
        assert row["shed"] >= shed_before
        assert row["after_update"] >= row["actual"]
        assert row["learning_rate"] == pytest.approx(0.1)
        assert row["loss"] > 0
        shed_before = row["shed"]
    # The run is no test of shedding unless it sheds.
    assert shed_before > 0
    group = model.optimizer.groups[0]
    assert keep.history[-1]["threshold"] == pytest.approx(
        float(ops.convert_to_numpy(group.threshold)[0])
    )


@pytest.mark.backend
def test_every_update_has_one_row_when_steps_run_in_one_piece() -> None:
    if keras.backend.backend() == "torch":
        with pytest.raises(ValueError, match="steps_per_execution"):
            fit(pruned(linear(2), steps_per_execution=3), [tfshed.UpdatePruningStep()])
        return
    keep, recount = tfshed.KeepRatio(), Recount()
    schedule = linear(2)
    fit(pruned(schedule, steps_per_execution=3), [keep, tfshed.UpdatePruningStep(), recount])
    rows = updates(keep)
    assert [row["step"] for row in rows] == list(range(2, 19, 2))
    for row in rows:
        assert row["target"] == pytest.approx(schedule.keep_ratio(row["step"]), abs=1e-6)
    # Executions end after steps 3, 6, 9, 10 and 13, 16, 19, 20: of 4 and 6 only 6 is seen.
    hidden = [row["step"] for row in rows if row["actual"] is None]
    assert hidden == [4, 14]
    for row in rows:
        if row["actual"] is not None:
            assert row["actual"] == pytest.approx(recount.after_step(row["step"])["all"])


@pytest.mark.backend
def test_accumulated_batches_are_one_step() -> None:
    keep, recount = tfshed.KeepRatio(), Recount()
    # 5 batches an epoch, two of them a step: the third step lies in both epochs.
    schedule = tfshed.LinearDecay(0.6, end_step=9, begin_step=1, frequency=2)
    model = pruned(schedule, sgd(gradient_accumulation_steps=2))
    fit(model, [tfshed.UpdatePruningStep(), recount, keep], epochs=4, batches=5)
    assert [row["step"] for row in updates(keep)] == [1, 3, 5, 7, 9]
    assert [r["step"] for r in keep.history if r["event"] == "epoch"] == [3, 5, 8, 10]
    for row in updates(keep):
        # The update belongs to the first batch of its step.
        truth = recount.after_batch(2 * row["step"] - 1)
        assert row["actual"] == pytest.approx(truth["all"])
    assert keep.history[-1]["actual"] < 0.5


@pytest.mark.backend
def test_batches_that_the_loss_scale_skips_are_no_steps() -> None:
    keep, recount = tfshed.KeepRatio(), Recount()
    # Gradients of some hundreds times 2^127: infinite, until the scale has been halved a few times.
    inner = keras.optimizers.SGD(1e-4, momentum=0.9)
    model = pruned(linear(3))
    model.compile(
        keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**127),
        lambda y, p: 1000.0 * ops.mean(ops.square(y - p)),
    )
    fit(model, [keep, tfshed.UpdatePruningStep(), recount], epochs=3)
    steps = recount.seen[-1][1]
    assert 18 < steps < 3 * BATCHES
    assert [row["step"] for row in updates(keep)] == [2, 5, 8, 11, 14, 17, 18]
    for row in updates(keep):
        assert row["actual"] == pytest.approx(recount.after_step(row["step"])["all"])
    assert keep.history[-1]["step"] == steps


@pytest.mark.backend
def test_the_device_is_read_at_updates_and_epochs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = tfshed.KeepRatio()
    reads = []
    original = probe.PruningProbe.read
    monkeypatch.setattr(probe.PruningProbe, "read", lambda s: reads.append(1) or original(s))
    applied = []
    monkeypatch.setattr(
        tfshed.KeepRatio,
        "_applied",
        lambda s, f=tfshed.KeepRatio._applied: applied.append(1) or f(s),
    )
    fit(pruned(linear(8)), [tfshed.UpdatePruningStep(), keep])
    assert [row["step"] for row in updates(keep)] == [2, 10, 18]
    # Beginning and end of two epochs, and the updates at 2 and 18; the one at 10 is at an end.
    assert len(applied) == len(reads) == 6


@pytest.mark.backend
def test_keras_may_still_call_callbacks_beside_the_next_step() -> None:
    class Slow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise AssertionError

    ours = keras.callbacks.CallbackList([tfshed.KeepRatio(), tfshed.UpdatePruningStep()])
    assert ours._async_train == keras.callbacks.CallbackList([])._async_train
    assert not keras.callbacks.CallbackList([Slow()])._async_train


@pytest.mark.backend
def test_a_schedule_of_tensors_is_asked_with_python_numbers() -> None:
    class Tensors(tfshed.PruningSchedule):
        asked: list[Any] = []

        def __call__(self, step: Any) -> Any:
            self.asked.append(step)
            step = ops.cast(step, "int32")
            return ops.equal(step % 6, 0), ops.convert_to_tensor(0.5)

        def get_config(self) -> dict[str, Any]:
            return {}

    keep = tfshed.KeepRatio()
    fit(pruned(Tensors()), [tfshed.UpdatePruningStep(), keep])
    # Due at 0, before training: that is done in step 1.
    assert [row["step"] for row in updates(keep)] == [1, 6, 12, 18]
    assert [row["target"] for row in updates(keep)] == [0.5] * 4
    assert {s for s in Tensors.asked if isinstance(s, int)} >= set(range(1, 21))


KEYS = {"keep_target", "keep_actual", "keep_gap", "threshold", "pruned_by_schedule", "shed"}


@pytest.mark.backend
def test_logs_reach_history_bar_and_the_callbacks_after(tmp_path: Path) -> None:
    class Batches(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(dict(logs))

    seen: list[dict[str, float]] = []
    before = keras.callbacks.CSVLogger(tmp_path / "before.csv")
    after = keras.callbacks.CSVLogger(tmp_path / "after.csv")
    keep = tfshed.KeepRatio()
    history = fit(
        pruned(linear(3)), [before, keep, tfshed.UpdatePruningStep(), after, Batches()]
    ).history
    ends = [row for row in keep.history if row["event"] == "epoch"]
    assert set(history) == KEYS | {"loss"}
    for key, column in [("keep_actual", "actual"), ("keep_gap", "gap"), ("shed", "shed")]:
        assert history[key] == [row[column] for row in ends]
    with (tmp_path / "after.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["keep_target"]) for r in rows] == [row["target"] for row in ends]
    # Keras copies the logs once for each event, and hands the copy from one to the next.
    assert "keep_target" not in (tmp_path / "before.csv").read_text()
    assert all(set(logs) == {"loss", "keep_target", "keep_actual"} for logs in seen)
    # An update shows from the batch after it on.
    assert len(seen) == 2 * BATCHES
    for before_batch, batch_logs in enumerate(seen):
        last = [row for row in keep.history if row["step"] <= before_batch][-1:]
        assert batch_logs["keep_target"] == (last[0]["target"] if last else 1.0)
        assert batch_logs["keep_actual"] == (last[0]["actual"] if last else 1.0)


@pytest.mark.backend
def test_the_progress_bar_shows_the_keep_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = data()
    callbacks = [tfshed.UpdatePruningStep(), tfshed.KeepRatio()]
    pruned(linear(3)).fit(x, y, batch_size=BATCH, epochs=1, verbose=1, callbacks=callbacks)
    assert "keep_actual: 0." in capsys.readouterr().out


class Crash(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.optimizer.iterations == 27:
            raise KeyboardInterrupt


@pytest.mark.backend
def test_a_resumed_run_goes_on_with_the_files(tmp_path: Path) -> None:
    def run(where: str, extra: list[Any]) -> tfshed.KeepRatio:
        keep = tfshed.KeepRatio(tmp_path / where, plot=False, tensorboard=False)
        backup = keras.callbacks.BackupAndRestore(
            tmp_path / f"{where}_backup", delete_checkpoint=False
        )
        schedule = tfshed.LinearDecay(0.8, end_step=38, frequency=3)
        fit(pruned(schedule), [keep, tfshed.UpdatePruningStep(), backup, *extra], epochs=4)
        return keep

    whole = run("whole", [])
    with pytest.raises(KeyboardInterrupt):
        run("parts", [Crash()])
    path = tmp_path / "parts" / "keep_ratio.csv"
    assert read_table(path)[1][-1]["step"] > 20
    # The crash came while a line was written.
    path.write_text(path.read_text() + "28,2,upd")
    again = run("parts", [])

    for name in ("keep_ratio.csv", "keep_ratio_layers.csv"):
        expected, found = (read_table(tmp_path / w / name) for w in ("whole", "parts"))
        assert found[0] == expected[0]
        assert len(found[1]) == len(expected[1])
        for a, b in zip(found[1], expected[1]):
            assert a == {k: pytest.approx(v, abs=1e-5) for k, v in b.items()}
    assert [r["step"] for r in again.history] == [r["step"] for r in whole.history]
    assert [r["kernels"].keys() for r in again.history] == [
        r["kernels"].keys() for r in whole.history
    ]


@pytest.mark.backend
def test_a_second_fit_goes_on_and_a_new_run_begins_anew(tmp_path: Path) -> None:
    keep = tfshed.KeepRatio(tmp_path, plot=False, tensorboard=False)
    model = pruned(linear(3))
    fit(model, [tfshed.UpdatePruningStep(), keep], epochs=1)
    fit(model, [tfshed.UpdatePruningStep(), keep], epochs=2, initial_epoch=1)
    steps = [2, 5, 8, 10, 11, 14, 17, 18, 20]
    assert [row["step"] for row in keep.history] == steps
    assert [row["step"] for row in read_table(tmp_path / "keep_ratio.csv")[1]] == steps
    fit(pruned(linear(5)), [tfshed.UpdatePruningStep(), keep], epochs=1)
    assert [row["step"] for row in read_table(tmp_path / "keep_ratio.csv")[1]] == [2, 7, 10]
    assert [row["step"] for row in keep.history] == [2, 7, 10]


@pytest.mark.backend
def test_directory_holds_tables_plot_and_events(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    keep = tfshed.KeepRatio(tmp_path / "run")
    x, y = data()
    fit(pruned(linear(3)), [tfshed.UpdatePruningStep(), keep], validation_data=(x, y))
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "keep_ratio.csv",
        "keep_ratio.png",
        "keep_ratio_layers.csv",
        "tensorboard",
    ]
    columns, rows = read_table(tmp_path / "run" / "keep_ratio.csv")
    assert columns[:6] == ["step", "epoch", "event", "target", "actual", "gap"]
    assert columns[6:] == [
        "after_update",
        "threshold",
        "scheduled",
        "shed",
        "learning_rate",
        "loss",
        "val_loss",
    ]
    for row, kept in zip(rows, keep.history):
        # What a row lacks is empty in the file.
        assert {k: v for k, v in row.items() if v is not None} == {
            k: v for k, v in kept.items() if k != "kernels"
        }
    assert [row["val_loss"] is None for row in rows] == [r["event"] == "update" for r in rows]
    assert (tmp_path / "run" / "keep_ratio.png").read_bytes().startswith(b"\x89PNG")

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()

    def read(tag: str) -> dict[int, float]:
        return {
            e.step: float(tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)
        }

    for name in ("target", "actual", "gap", "threshold", "scheduled", "shed"):
        assert read(f"keep_ratio/{name}") == {
            row["step"]: pytest.approx(row[name], rel=1e-6) for row in keep.history
        }
    for path in keep.history[0]["kernels"]:
        assert read(f"kernels/{path}") == {
            row["step"]: pytest.approx(row["kernels"][path], rel=1e-6) for row in keep.history
        }
    for name in ("loss", "val_loss", "learning_rate"):
        assert read(f"metrics/{name}") == {
            row["step"]: pytest.approx(row[name], rel=1e-6)
            for row in keep.history
            if row.get(name) is not None
        }
    # One chart of TensorBoard: the same tag in two runs.
    for name in ("target", "actual"):
        events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / name))
        events.Reload()
        assert events.Tags()["tensors"] == ["keep_ratio"]
        assert read("keep_ratio") == {
            row["step"]: pytest.approx(row[name], rel=1e-6) for row in keep.history
        }


@pytest.mark.backend
def test_two_groups_add_up() -> None:
    slow = tfshed.LinearDecay(0.5, end_step=15, begin_step=5, frequency=5)
    a = tfshed.prune_low_magnitude(keras.layers.Dense(16, name="a"), linear(3), scope="global")
    blocks = {"granularity": tfshed.Block(4, 1), "scope": "layer", "threshold": 0.0}
    b = tfshed.prune_low_magnitude(keras.layers.Dense(4, name="b"), slow, **blocks)
    model = keras.Sequential([keras.Input((8,)), a, b])
    model.compile(sgd(), "mse")
    keep, recount = tfshed.KeepRatio(), Recount()
    fit(model, [keep, tfshed.UpdatePruningStep(), recount])
    assert [row["step"] for row in updates(keep)] == [2, 5, 8, 10, 11, 14, 15, 17, 18]
    for row in keep.history:
        truth = recount.after_batch(row["step"])
        assert row["actual"] == pytest.approx(truth["all"])
        assert row["target"] == pytest.approx((2 * row["target_0"] + row["target_1"]) / 3)
        assert row["scheduled"] == row["scheduled_0"] + row["scheduled_1"]
        assert row["threshold"] == max(row["threshold_0"], row["threshold_1"])
    assert keep.history[-1]["target_1"] == 0.5 == keep.history[-1]["actual_1"]
    assert keep.history[-1]["scheduled_1"] == 8  # blocks


@pytest.mark.backend
def test_the_target_of_a_pattern_is_what_it_comes_to() -> None:
    model = tfshed.prune_low_magnitude(
        net(), tfshed.OneShot(0.1, step=3), granularity=tfshed.NxM(1, 4), threshold=0.0
    )
    model.compile(sgd(), "mse")
    keep = tfshed.KeepRatio()
    fit(model, [tfshed.UpdatePruningStep(), keep], epochs=1)
    assert [(r["step"], r["target"], r["gap"]) for r in keep.history] == [
        (3, 0.25, 0),
        (10, 0.25, 0),
    ]


@pytest.mark.backend
def test_a_control_run_counts_small_weights_and_removes_none(tmp_path: Path) -> None:
    model = net()
    model.compile(sgd(), "mse")
    recount = Recount()
    keep = tfshed.KeepRatio(tmp_path, schedule=linear(3), control_threshold=0.02)
    history = fit(model, [keep, recount]).history
    assert [(r["step"], r["event"]) for r in keep.history][:5] == [
        (2, "look"),
        (5, "look"),
        (8, "look"),
        (10, "epoch"),
        (11, "look"),
    ]
    for row in keep.history:
        truth = recount.after_batch(row["step"])
        assert row["actual"] == pytest.approx(1 - truth["small"])
        assert row["target"] == 1.0
        assert row["scheduled"] == row["shed"] == 0
        assert truth["all"] == 1.0
    assert any(row["actual"] < 1 for row in keep.history)
    assert history["keep_target"] == [1.0, 1.0]


@pytest.mark.backend
def test_a_control_run_without_a_schedule_has_rows_of_epochs() -> None:
    model = net()
    model.compile(sgd(), "mse")
    keep = tfshed.KeepRatio()
    fit(model, [keep])
    assert [(r["step"], r["event"]) for r in keep.history] == [(10, "epoch"), (20, "epoch")]


@pytest.mark.backend
def test_a_control_run_counts_nan_as_there_and_zero_as_gone() -> None:
    model = net()
    a, b = (layer.kernel for layer in model.layers)
    values = np.full(a.shape, np.nan, "float32")
    values[0] = 0.5
    values[1] = -0.25
    a.assign(values)
    b.assign(np.zeros(b.shape, "float32"))
    counted = probe.ControlProbe(model, 0.5, None).read()
    assert counted.kernels == {"net/a/kernel": 7 / 8, "net/b/kernel": 0.0}
    assert probe.ControlProbe(model, 0.0, None).read().net["actual"] == 128 / 192
    model.trainable = False
    with pytest.raises(ValueError, match="expected trainable kernels, received net with none"):
        probe.ControlProbe(model, 0.0, None)


@pytest.mark.backend
def test_validation_at_updates_leaves_training_alone() -> None:
    x, y = data(3)
    histories, weights, rows = [], [], []
    for validation in (None, (x, y)):
        model = pruned(linear(3), metrics=["mae"])
        keep = tfshed.KeepRatio(validation_data=validation)
        histories.append(fit(model, [tfshed.UpdatePruningStep(), keep]).history)
        weights.append(model.get_weights())
        rows = keep.history
    for key, values in histories[0].items():
        assert histories[1][key] == pytest.approx(values, rel=1e-5), key
    for a, b in zip(*weights):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert all(row["val_mae"] > 0 for row in rows)
    assert rows[-1]["val_loss"] == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-5)
    assert len({row["val_loss"] for row in rows}) > 5


@pytest.mark.backend
def test_a_model_built_in_its_first_step_is_followed_too() -> None:
    class Lazy(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inside = keras.layers.Dense(4, name="inside")

        def call(self, x: Any) -> Any:
            return self.inside(x)

    model = Lazy()
    model.compile(sgd(), "mse")
    keep = tfshed.KeepRatio(schedule=linear(3))
    fit(model, [keep], epochs=1)
    assert [row["step"] for row in keep.history] == [2, 5, 8, 10]


@pytest.mark.slow
def test_mirrored_replicas_count_once() -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.distribute")
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = pruned(linear(3))
    keep, recount = tfshed.KeepRatio(validation_data=data(2)), Recount()
    fit(model, [keep, tfshed.UpdatePruningStep(), recount])
    assert [row["step"] for row in updates(keep)] == [2, 5, 8, 11, 14, 17, 18]
    for row in keep.history:
        assert row["actual"] == pytest.approx(recount.after_batch(row["step"])["all"])
        assert row["scheduled"] + row["shed"] + round(row["actual"] * 192) == 192


@pytest.mark.backend
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"directory": ""}, "directory: expected a path or None, received ''"),
        ({"directory": 3}, "directory: expected"),
        ({"schedule": 0.5}, "schedule: expected a callable"),
        (
            {"control_threshold": -1},
            "control_threshold: expected a finite number >= 0, received -1",
        ),
        ({"control_threshold": float("nan")}, "control_threshold"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        tfshed.KeepRatio(**arguments)


def test_a_table_grows_columns_and_refuses_what_it_did_not_write(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "t.csv", ["step", "epoch"])
    table.append({"step": 1, "epoch": 0})
    table.append({"step": 2, "epoch": 0, "loss": 0.5})
    table.append({"step": 3, "epoch": None})
    text = (tmp_path / "t.csv").read_text()
    assert text == "step,epoch,loss\n1,0,\n2,0,0.5\n3,,\n"
    again = CsvTable(tmp_path / "t.csv", ["step", "epoch"])
    assert [row["step"] for row in again.resume(2)] == [1, 2]
    again.append({"step": 7, "loss": 1.5})
    assert (tmp_path / "t.csv").read_text() == "step,epoch,loss\n1,0,\n2,0,0.5\n7,,1.5\n"
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match='expected a table with a column "step"'):
        CsvTable(tmp_path / "other.csv", ["step"]).resume(0)


@pytest.mark.backend
def test_summaries_have_the_tags_of_tfmot(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    model = pruned(linear(3))
    log_dir = str(tmp_path / "logs")
    fit(model, [tfshed.PruningSummaries(log_dir), tfshed.UpdatePruningStep()])
    events = EventAccumulator(log_dir + "/metrics")
    events.Reload()
    wrappers = ["prune_low_magnitude_a", "prune_low_magnitude_b"]
    assert set(events.Tags()["tensors"]) == {
        f"{w}/{tag}" for w in wrappers for tag in ("mask:0/sparsity", "threshold:0/threshold")
    }
    for wrapper, layer in zip(wrappers, model.layers):
        read = events.Tensors(f"{wrapper}/mask:0/sparsity")
        assert [e.step for e in read] == [0, 10, 20]
        zeros = float(np.mean(layer.layer.get_weights()[0] == 0))
        found = [float(tensor_util.make_ndarray(e.tensor_proto)) for e in read]
        assert found == [0.0, pytest.approx(found[1]), pytest.approx(zeros)]
        assert 0 < found[1] < zeros
    # It is Keras' own TensorBoard callback, too.
    assert list(Path(log_dir).glob("train/events*"))


@pytest.mark.backend
def test_summaries_need_a_folder_and_an_optimizer_that_prunes(tmp_path: Path) -> None:
    for wrong in ("", None, 3):
        with pytest.raises(ValueError, match="log_dir: expected a path or a string"):
            tfshed.PruningSummaries(wrong)  # type: ignore[arg-type]
    model = net()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="expected an optimizer that prunes"):
        fit(model, [tfshed.PruningSummaries(str(tmp_path))])
