"""tfshed.experiments.Run in one process: what it writes, goes on with and refuses."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from tfshed.experiments import Run, Settings, recipe
from tfshed.experiments.initial_weights import weights_file
from tfshed.experiments.save_checkpoints import SaveCheckpoints
from tfshed.observe.csv_table import read_table


@pytest.fixture(autouse=True)
def float32_afterwards():
    yield
    keras.config.set_dtype_policy("float32")


OPTIONS = ("seed", "precision", "resume", "accept_missing_rows")


def settings(workdir, phase="prune", **changed):
    config = recipe()
    config.initial_weights = "fresh"
    config.data.fraction = 0.5
    config.model.name = "lenet_300_100"
    config.checkpoint.every_steps = 2
    for part in (config.train, config.prune):
        part.epochs, part.batch_size = 2, 144  # 5 steps an epoch
        part.learning_rate.rates, part.learning_rate.milestones = (0.1,), ()
    config.prune.sparsity, config.prune.frequency = 0.7, 2
    options = {n: changed.pop(n) for n in OPTIONS if n in changed}
    config.update_from_flattened_dict(changed)
    return Settings(phase, config, workdir, **options)


def quiet(text):
    pass


@pytest.mark.backend
def test_an_interrupted_run_ends_as_the_unbroken_one(tmp_path, monkeypatch):
    unbroken = Run(settings(tmp_path / "unbroken")).run(quiet)
    plain = SaveCheckpoints.on_train_batch_begin

    def interrupted(self, batch, logs=None):
        plain(self, batch, logs)
        if self._epoch_start + batch == 8:  # the newest checkpoint is that of step 8
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SaveCheckpoints, "on_train_batch_begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Run(settings(tmp_path / "broken")).run(quiet)
    printed = []
    broken = Run(settings(tmp_path / "broken")).run(printed.append)
    assert printed[0] == "Resuming from step 8 of 10."
    for found in (broken, unbroken):
        found.pop("steps_per_second")
    assert broken == unbroken
    tables = [read_table(tmp_path / name / "keep_ratio.csv") for name in ("broken", "unbroken")]
    assert tables[0] == tables[1] and len(tables[0][1]) > 4
    a, b = (
        keras.saving.load_model(tmp_path / name / "model.keras") for name in ("broken", "unbroken")
    )
    for v, w in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(v), keras.ops.convert_to_numpy(w))


@pytest.mark.backend
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(tmp_path, precision):
    found = Run(settings(tmp_path, precision=precision)).run(quiet)
    assert found["kernel_sparsity"] == pytest.approx(0.7, abs=0.02)
    assert found["after"]["accuracy"] > 0.3


def test_the_epochs_of_an_eval_only_look_and_label_smoothing(tmp_path):
    found = Run(
        settings(tmp_path, "train", **{"train.label_smoothing": 0.1, "data.eval_fraction": 0.5})
    ).run(quiet)
    assert found["before"] is None and found["after"]["loss"] > 0
    rows = read_table(tmp_path / "keep_ratio.csv")[1]
    assert [row["event"] for row in rows] == ["epoch", "epoch"]
    recorded = json.loads((tmp_path / "settings.json").read_text())
    assert recorded["settings"]["config"]["train"]["label_smoothing"] == 0.1


def test_resume_false_refuses_a_run_that_is_there(tmp_path):
    Run(settings(tmp_path, "train", **{"train.epochs": 1})).run(quiet)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="expected a new folder with resume=False"):
        Run(settings(tmp_path, "train", resume=False, **{"train.epochs": 1})).run(quiet)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    for changed, words in (
        ({"initial_weights": ""}, "pruning starts from trained weights"),
        ({"prune.granularity": "4by1"}, "config.prune.granularity"),
        ({"prune.batch_size": 4000}, "4000"),
        ({"seed": -1}, "seed: expected"),
        ({"precision": "float8"}, "precision: expected one of float32"),
    ):
        with pytest.raises(ValueError, match=words):
            Run(settings(tmp_path / "run", **changed))
    assert not (tmp_path / "run").exists()


def test_weights_come_from_runs_files_or_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing is there"):
        weights_file(str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="no model.keras: is that run finished"):
        weights_file(str(tmp_path))
    (tmp_path / "model.keras").touch()
    assert weights_file(str(tmp_path)) == str(tmp_path / "model.keras")
