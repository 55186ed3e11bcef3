"""Files that commit bf3afc0 wrote load, say what they said, and are trained on as it did.

`tests/saved/make.py` says what they are. Stored numbers are compared to the bit; computed ones
closely, since other processors and backends round differently.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfshed
import tfshed.learning_rates
import tfshed.training
from tests.nets import KERAS
from tests.saved import make
from tests.saved.make import FOLDER, array, read_story

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow's formats, and runs made with it"
)
only_new_keras = pytest.mark.skipif(
    KERAS < (3, 15), reason="Keras 3.15 wrote its own layers here, and no older one reads them"
)
OBJECTS = json.loads((FOLDER / "objects.json").read_text())
# Classes that have another name now; files name them by the registered one, which stays.
RENAMED = {"Ahead": "EarlierSchedule"}

WRAPPER = pytest.param("PruneLowMagnitude", marks=only_new_keras)  # it holds a layer


def close(found, wanted, what="", rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(found, wanted, rtol, atol, err_msg=what)


# What random and selective pruning do next has been mended since these were written.
DRAWN_ANEW = ("kinds", "tf_keras_keras")


def check_story(model, name):
    """The state to the bit; then outputs and three steps more, where these are as they were."""
    wanted = read_story(name)
    x, y = wanted.pop("x"), wanted.pop("y")
    if keras.backend.backend() == "jax":
        model.jit_compile = True  # else every operation is compiled by itself
    found = make.story(model, x, y)
    assert list(found) == list(wanted)
    assert any((wanted[f"saved/{n}"] != wanted[f"after/{n}"]).any() for n in masks(wanted))
    for what, value in wanted.items():
        # Whole numbers have the width of the backend.
        assert found[what].dtype.kind == value.dtype.kind, what
        if name in DRAWN_ANEW and not what.startswith("saved/"):
            continue
        if what.startswith("saved/") or value.dtype.kind != "f":
            np.testing.assert_array_equal(found[what], value, err_msg=what)
        else:
            close(found[what], value, what)


def masks(story):
    return [n.removeprefix("after/") for n in story if n.startswith("after/") and " mask " in n]


@only_new_keras
@pytest.mark.backend
@pytest.mark.parametrize("file", ["global.keras", "global.h5", "kinds.keras"])
def test_a_model_goes_on(file):
    model = keras.saving.load_model(FOLDER / file)
    if file.endswith(".h5"):
        # Keras has its state wait for variables, which the first step would bring.
        tfshed.UpdatePruningStep().set_model(model)
    check_story(model, file.split(".")[0])


@pytest.mark.backend
def test_weights_go_on():
    model = make.global_net()
    tfshed.UpdatePruningStep().set_model(model)
    model.load_weights(FOLDER / "global.weights.h5")
    check_story(model, "global")


@only_tensorflow
@pytest.mark.filterwarnings("ignore:training ended before the pruning schedule")
@pytest.mark.parametrize("ending", ["h5", "keras"])
def test_a_model_of_tf_keras_goes_on(ending):
    import tf_keras

    wrapper = tfshed.tfmot.PruneLowMagnitude
    model = tf_keras.models.load_model(FOLDER / f"tf_keras.{ending}")
    assert [type(layer) for layer in model.layers] == [wrapper, wrapper]
    check_story(model, f"tf_keras_{ending}")
    tf_keras.backend.clear_session()


def check_holds(found, saved):
    """All that was saved is there: more may be, and where a class lives is its own business."""
    if isinstance(saved, dict):
        for key in saved.keys() - {"module"}:
            if key == "class_name":
                assert found[key] == RENAMED.get(saved[key], saved[key])
                continue
            # Keras' own classes have none, but for the optimizers on PyTorch.
            if key != "registered_name" or saved[key] is not None:
                check_holds(found[key], saved[key])
    elif isinstance(saved, list):
        assert len(found) == len(saved)
        for one, other in zip(found, saved):
            check_holds(one, other)
    else:
        assert found == saved


def same_behaviour(found, wanted):
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted):
            same_behaviour(a, b)
    else:
        assert found == (pytest.approx(wanted, rel=1e-6) if isinstance(wanted, float) else wanted)


@pytest.mark.backend
@pytest.mark.parametrize(
    "name", [name if name != "PruneLowMagnitude" else WRAPPER for name in OBJECTS]
)
def test_an_object_is_read_and_does_the_same(name):
    saved = OBJECTS[name]["saved"]
    found = keras.saving.deserialize_keras_object(saved)
    assert type(found).__name__ == RENAMED.get(name, name)
    again = json.loads(json.dumps(keras.saving.serialize_keras_object(found)))
    check_holds(again, saved)
    if name == "CyclicExponentialDecay":
        return  # since then its last update lies inside the last gate
    same_behaviour(make.behaviour(found), OBJECTS[name]["behaviour"])


# With nothing else of tfshed imported: registering is done by import.
ALONE = """
import json, sys, warnings
from pathlib import Path
import tfshed_command
tfshed_command.import_tensorflow()
import keras, tfshed
folder = Path(sys.argv[1])
for file in ("global.keras", "global.h5"):
    keras.saving.load_model(folder / file)
objects = json.loads((folder / "objects.json").read_text())
late = {"MultiStep", "CyclicStep", "SmoothedCrossentropy"}
for name in [n for n in objects if n not in late]:
    keras.saving.deserialize_keras_object(objects[name]["saved"])
tfshed.learning_rates
for name in ("MultiStep", "CyclicStep"):
    keras.saving.deserialize_keras_object(objects[name]["saved"])
tfshed.training
keras.saving.load_model(folder / "kinds.keras")
tfshed.tfmot
import tf_keras
for file in ("tf_keras.h5", "tf_keras.keras"):
    tf_keras.models.load_model(folder / file)
print("loaded")
"""


@only_new_keras
@only_tensorflow
def test_the_imports_that_were_enough_are_enough():
    root = FOLDER.parents[1]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(FOLDER)],
        cwd=root / "scripts",
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "loaded\n", done.stderr


@pytest.fixture(scope="module")
def exported():
    with np.load(FOLDER / "export" / "expected.npz") as found:
        return dict(found)


def weights(exported):
    return [exported[name] for name in exported if name.startswith("weight ")]


@only_tensorflow
@pytest.mark.parametrize("kind", ["packed", "dense"])
def test_a_saved_model_is_served(exported, kind):
    variables, outputs = make.run_saved_model(FOLDER / "export" / kind, exported["x"])
    assert len(variables) == 4
    for weight in weights(exported):
        assert any(np.array_equal(weight, v) for v in variables)
    close(outputs, exported[kind])


@only_tensorflow
def test_what_packing_came_to_is_read():
    found = tfshed.export.packing(FOLDER / "export" / "packed")
    wanted = (FOLDER / "export" / "packing.txt").read_text()
    assert f"{found}\n" == wanted.replace(" as float32", "")  # which was said of every type


@only_new_keras
@pytest.mark.backend
def test_an_exported_keras_file_is_loaded(exported):
    model = keras.saving.load_model(FOLDER / "export" / "net.keras")
    for found, wanted in zip(model.get_weights(), weights(exported), strict=True):
        np.testing.assert_array_equal(found, wanted)
    close(array(model(exported["x"], training=False)), exported["net.keras"])


@only_tensorflow
def test_a_litert_file_runs(exported):
    outputs = make.run_litert(FOLDER / "export" / "net.tflite", exported["x"])
    close(outputs, exported["net.tflite"])
    close(outputs, exported["net.keras"], atol=1e-4)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(row):
    """What of a row is a number, as one."""
    return {k: float(v) for k, v in row.items() if v.replace(".", "").replace("e-", "").isdigit()}


@only_tensorflow
def test_a_run_that_was_broken_off_ends_as_it_did(tmp_path):
    shutil.copytree(FOLDER / "run", tmp_path / "run")
    end = FOLDER / "run_end"
    found, said = make.go_on(tmp_path / "run")
    was = (end / "said.txt").read_text()
    assert f"{said[0]}\n" == was.replace("Going on", "Resuming")  # which was the word then
    wanted = json.loads((end / "results.json").read_text())
    for name, value in wanted.items():
        assert found[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-4))
    with np.load(end / "weights.npz") as weights:
        close(make.final_weights(tmp_path / "run"), weights["all"], rtol=1e-3, atol=1e-4)
    for name in ("keep_ratio.csv", "keep_ratio_layers.csv"):
        ours, theirs = table(tmp_path / "run" / name), table(end / name)
        assert [list(row) for row in ours] == [list(row) for row in theirs]
        for row, other in zip(ours, theirs):
            assert numbers(row) == pytest.approx(numbers(other), rel=1e-4)
    # And now it is a finished one.
    again, said = make.go_on(tmp_path / "run")
    assert again == found and "this run is finished" in said[0]
