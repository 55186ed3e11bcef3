"""tfshed.experiments.Run: what is wrong without being dead stops a run, or is told."""

from __future__ import annotations

import json
import os
import re
import signal

import keras
import numpy as np
import pytest

from tests.experiments.test_run import quiet, settings
from tfshed import datasets
from tfshed.datasets.npz import in_memory
from tfshed.experiments import Run
from tfshed.experiments.checkpoints import BEFORE_COLLAPSE, Checkpoints
from tfshed.experiments.interruption import InterruptedRunError, stop_request
from tfshed.experiments.non_finite import NonFiniteError, non_finite
from tfshed.experiments.run_lock import run_lock
from tfshed.experiments.save_checkpoints import SaveCheckpoints
from tfshed.observe.csv_table import read_table

# 5 steps an epoch, 2 epochs; the rate explodes in the second one.
EXPLODES = {
    "train.learning_rate.rates": (0.01, 1e9),
    "train.learning_rate.milestones": (1.0,),
    "train.momentum": 0.0,
    "non_finite.every_steps": 1,
}


def finite(checkpoints):
    arrays = checkpoints.newest().arrays
    return non_finite({n: a for n, a in arrays.items() if not n.startswith("metrics/")}) is None


def broken_before_its_end(run):
    """Leaves a run as it is when its process dies after the last checkpoint."""

    def fail():
        raise RuntimeError("on purpose")

    run._save = fail
    with pytest.raises(RuntimeError, match="on purpose"):
        run.run(quiet)


@pytest.mark.backend
def test_a_run_that_becomes_nan_stops_and_says_where(tmp_path):
    with pytest.raises(NonFiniteError) as stop:
        Run(settings(tmp_path, "train", **EXPLODES)).run(quiet)
    found = stop.value
    assert found.checkpoint in (4, 5, 6) and 6 <= found.step <= 10 and found.since >= 4
    text = f"at step {found.step}; at step {found.since} all was finite, and the newest checkpoint"
    assert text in str(found) and "config.non_finite.action=rollback" in str(found)
    assert finite(Checkpoints(tmp_path / "checkpoints"))
    assert not (tmp_path / "model.keras").exists() and not (tmp_path / "results.json").exists()


def test_weights_are_looked_at_where_the_loss_is_fine(tmp_path, monkeypatch):
    plain = SaveCheckpoints.on_train_batch_begin

    def spoil(self, batch, logs=None):
        if self._epoch_start + batch == 4:
            bias = self.model.trainable_variables[-1]
            bias.assign(np.where(np.arange(10) == 3, np.nan, np.zeros(10)))
        plain(self, batch, logs)

    monkeypatch.setattr(SaveCheckpoints, "on_train_batch_begin", spoil)
    with pytest.raises(
        NonFiniteError, match=r"1 of 10 numbers in \S*bias are NaN.* at step 4; at "
    ):
        Run(settings(tmp_path, "train", **{"non_finite.every_steps": 1000})).run(quiet)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.newest().info["step"] == 2 and finite(checkpoints)


@pytest.mark.backend
def test_a_rollback_goes_on_with_a_lower_rate(tmp_path):
    said = []
    changed = {**EXPLODES, "non_finite.action": "rollback", "non_finite.rate_factor": 1e-11}
    found = Run(settings(tmp_path, "train", **changed)).run(said.append)
    # Where the newest checkpoint was written in the middle of the explosion, it is finite, but no
    # good, and the one before it is taken.
    backs = [re.search(r"Back to step (\d), with", line) for line in said]
    steps = [int(found[1]) for found in backs if found]
    assert steps in ([4], [5], [6, 5], [6, 4]) and "with 1e-11 times the learning rate" in said[0]
    assert found["rollbacks"] == len(steps) and found["after"]["loss"] < 3
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.newest().info["rollbacks"] == len(steps) and finite(checkpoints)
    steps = [row["step"] for row in read_table(tmp_path / "keep_ratio.csv")[1]]
    assert steps == [5, 10]


def test_a_rollback_survives_a_new_start_and_is_given_up_in_the_end(tmp_path):
    changed = {**EXPLODES, "non_finite.action": "rollback", "non_finite.retries": 2}
    said = []
    with pytest.raises(NonFiniteError):
        Run(settings(tmp_path, "train", **changed)).run(said.append)
    assert [line.split("with ")[1].split(" ")[0] for line in said] == ["0.5", "0.25"]
    # A checkpoint knows with which rate it was made.
    run = Run(settings(tmp_path / "other", "train", **changed))
    checkpoint = Checkpoints(tmp_path / "checkpoints").newest()
    run.go_to(checkpoint._replace(info={**checkpoint.info, "rollbacks": 2}))
    schedule = run.model.optimizer.get_config()["learning_rate"]
    assert schedule["config"]["values"][0] == pytest.approx(0.01 * 0.25)


@pytest.mark.filterwarnings("ignore:invalid value|overflow encountered")
def test_going_on_warns_and_its_results_are_json(tmp_path):
    changed = {**EXPLODES, "non_finite.action": "go_on"}
    with pytest.warns(UserWarning, match="The run continues without checkpoints"):
        Run(settings(tmp_path, "train", **changed)).run(quiet)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert found["after"]["loss"] is None
    assert finite(Checkpoints(tmp_path / "checkpoints"))


def test_weights_that_are_not_finite_are_refused_at_the_start(tmp_path):
    Run(settings(tmp_path / "base", "train", **{"train.epochs": 1})).run(quiet)
    path = tmp_path / "base" / "model.keras"
    net = keras.saving.load_model(path)
    net.trainable_variables[-1].assign(np.full(10, np.inf))
    net.save(path)
    given = settings(tmp_path / "next", "train", initial_weights=str(tmp_path / "base"))
    with pytest.raises(ValueError, match="initial_weights: expected finite .*10 of 10 numbers in"):
        Run(given)
    assert not (tmp_path / "next").exists()


@pytest.mark.backend
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_run_with_a_checkpoint_and_it_goes_on(tmp_path, monkeypatch, number):
    plain = SaveCheckpoints.on_train_batch_begin

    def kill(self, batch, logs=None):
        if self._epoch_start + batch == 7:  # between two checkpoints
            os.kill(os.getpid(), number)
        plain(self, batch, logs)

    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr(SaveCheckpoints, "on_train_batch_begin", kill)
        with pytest.raises(InterruptedRunError) as stop:
            Run(settings(tmp_path / "broken")).run(quiet)
    assert (stop.value.step, stop.value.signal) == (7, number)
    assert f"stopped by {number.name} after step 7" in str(stop.value)
    assert signal.getsignal(number) is before
    assert not (tmp_path / "broken" / "run.lock").exists()
    assert Checkpoints(tmp_path / "broken" / "checkpoints").newest().info["step"] == 7
    if number == signal.SIGINT:
        return
    said = []
    broken = Run(settings(tmp_path / "broken")).run(said.append)
    assert said[0] == "Resuming from step 7 of 10."
    unbroken = Run(settings(tmp_path / "unbroken")).run(quiet)
    for found in (broken, unbroken):
        found.pop("steps_per_second")
    assert broken == unbroken


def test_the_second_ctrl_c_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt), stop_request() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.signal == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_a_second_process_leaves_everything_as_it_is(tmp_path):
    given = settings(tmp_path, "train", **{"train.epochs": 1})
    broken_before_its_end(Run(given))
    files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with run_lock(tmp_path), pytest.raises(ValueError, match="is writing to it"):
        Run(given).run(quiet)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files


@pytest.mark.parametrize("images", ["fewer", "other"])
def test_other_data_under_the_same_name_are_refused(tmp_path, images):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (300, 4, 4, 1), np.uint8), np.arange(300, dtype=np.int32) % 3

    @datasets.register("changing")
    def changing(request):
        parts = {"train": (x, y), "test": (x[:30], y[:30])}
        return in_memory(request.name, 3, parts, request.image_size)

    given = {"data.name": "changing", "train.epochs": 1, "train.batch_size": 64}
    broken_before_its_end(Run(settings(tmp_path, "train", **given)))
    if images == "fewer":
        x, y, words = x[:200], y[:200], "data.examples.train was 300, now 200"
    else:
        x, words = x.copy(), "data.fingerprint.train was"
        x[7, 2, 2, 0] ^= 1
    with pytest.raises(ValueError, match=f"was made with other settings: {words}"):
        Run(settings(tmp_path, "train", **given)).run(quiet)


@pytest.mark.parametrize("lost", ["some", "all"])
def test_rows_that_went_missing_are_an_error_unless_accepted(tmp_path, lost):
    broken_before_its_end(Run(settings(tmp_path)))
    table = tmp_path / "keep_ratio.csv"
    lines = table.read_text().splitlines(keepends=True)
    if lost == "all":
        table.unlink()
    else:
        table.write_text("".join([*lines[:2], *lines[4:]]))
    count = len(lines) - 1 if lost == "all" else 2
    words = f"expected {len(lines) - 1} rows up .* {count} of them are missing"
    with pytest.raises(ValueError, match=words):
        Run(settings(tmp_path)).run(quiet)
    found = Run(settings(tmp_path, accept_missing_rows=True)).run(quiet)
    assert found["rows_missing"] == count


def test_settings_that_cannot_be_read_are_named(tmp_path):
    given = settings(tmp_path, "train", **{"train.epochs": 1})
    broken_before_its_end(Run(given))
    run = Run(given)
    for text in ('{"settings": {', "[]", '{"settings": 3}'):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(ValueError, match=r"settings.json: expected .* Put back a good copy"):
            run.run(quiet)


def test_the_best_checkpoint_is_that_of_the_best_epoch(tmp_path):
    changed = {"train.epochs": 3, "checkpoint.best": "val_loss"}
    Run(settings(tmp_path, "train", **changed)).run(quiet)
    rows = {r["step"]: r["val_loss"] for r in read_table(tmp_path / "keep_ratio.csv")[1]}
    best = Checkpoints(tmp_path / "checkpoints").best()
    assert rows[best.info["step"]] == min(rows.values()) and best.info["metric"] == "val_loss"
    changed["checkpoint.best"] = "val_acuracy"
    with pytest.raises(ValueError, match=r"checkpoint.best: .* Did you mean 'val_accuracy'"):
        Run(settings(tmp_path / "other", "train", **changed)).run(quiet)


# The callback says it as well.
@pytest.mark.filterwarnings("ignore:.*collapse_guard:UserWarning")
def test_a_run_whose_net_would_shed_itself_keeps_the_checkpoint_before(tmp_path):
    changed = {
        "prune.threshold": 1e-4,
        "prune.schedule": "linear",
        "prune.learning_rate.rates": (1e-3,),
        "prune.collapse_guard": 0.9,
        "prune.momentum": 0.0,
        "checkpoint.keep": 1,
    }
    plain = SaveCheckpoints.on_train_batch_begin

    def shrink(self, batch, logs=None):
        plain(self, batch, logs)
        if self._epoch_start + batch == 7:  # the newest checkpoint is that of step 6
            for v in self.model.trainable_variables:
                v.assign(v * 1e-6)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SaveCheckpoints, "on_train_batch_begin", shrink)
        with pytest.warns(UserWarning, match="steps 6 and 8; the checkpoint of step 6, from"):
            found = Run(settings(tmp_path, **changed)).run(quiet)
    assert found["steps_held_by_collapse_guard"] > 0
    kept = np.load(tmp_path / "checkpoints" / BEFORE_COLLAPSE)["info"].tobytes()
    assert json.loads(kept)["info"]["step"] == 6
    assert Checkpoints(tmp_path / "checkpoints").newest().info["step"] == 10
