"""What `import tfshed` does to a process: nothing, but for importing Keras."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import tfshed

HEAVY = (
    "tensorflow_model_optimization",
    "tf_keras",
    "matplotlib",
    "tensorflow_datasets",
)


def python(code: str, backend: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.backend
def test_importing_leaves_the_process_as_it_is():
    backend = keras.backend.backend()
    code = f"""
import os, sys, logging, warnings
import keras
before, modules = dict(os.environ), set(sys.modules)
filters, level = list(warnings.filters), logging.getLogger("tfshed").level
import tfshed
assert dict(os.environ) == before
assert list(warnings.filters) == filters
assert logging.getLogger("tfshed").level == level and not logging.getLogger("tfshed").handlers
new = set(sys.modules) - modules
own = sorted(name for name in new if name.startswith("tfshed."))
assert own == ["tfshed.core", "tfshed.core.saved_classes"], own
heavy = [name for name in {HEAVY} if name in new]
assert not heavy, heavy
if {backend!r} != "tensorflow":
    assert "tensorflow" not in new
for other in ("jax", "torch"):
    assert other not in new, other
print("done")
"""
    assert python(code, backend).endswith("done\n")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.keras")
def test_tf_keras_stays_keras_3():
    code = """
import tensorflow as tf, tfshed, keras
net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
model = tfshed.prune_low_magnitude(net, tfshed.ConstantSparsity(0.5, 0))
assert tf.keras.layers.Dense is keras.layers.Dense
assert tf.keras.__version__.startswith("3.")
print("done")
"""
    assert python(code, "tensorflow").endswith("done\n")


@pytest.mark.backend
def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'trim'"):
        tfshed.trim  # noqa: B018


@pytest.mark.backend
def test_dir_shows_the_public_names_and_nothing_else():
    found = dir(tfshed)
    folders = {path.stem for path in Path(tfshed.__file__).parent.iterdir() if path.stem[0] != "_"}
    inner = {"attach", "commands", "core", "observe", "py"}
    if keras.backend.backend() != "tensorflow":
        inner |= {"tfmot"}
    assert set(found) == {*tfshed.__all__, "__version__"} | (folders - inner)
    # What is listed is there, so that `help(tfshed)` and inspect work.
    for name in found:
        assert getattr(tfshed, name) is not None


def test_type_checkers_see_each_public_name_in_the_file_where_it_is_looked_up():
    [block] = [
        node
        for node in ast.parse(Path(tfshed.__file__).read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    seen = {
        each.asname or each.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    assert seen == tfshed._FILES
    assert sorted(seen) == sorted(tfshed.__all__)


@pytest.mark.backend
def test_files_are_read_after_nothing_but_import_tfshed():
    """Every class that a file may name is found, though none has been imported yet."""
    layer = keras.layers.Dense(4, name="head")
    layer.build((None, 8))
    schedule = tfshed.ExponentialDecay(0.8, time_constant=30, end_step=90)
    config = tfshed.PruningConfig(schedule, criterion="taylor", granularity="4x1")
    wrapper = tfshed.PruneLowMagnitude(layer, config)
    rate = tfshed.learning_rates.MultiStep((0.1, 0.01), (2,), steps_per_epoch=4)
    optimizer = tfshed.PruningOptimizer(keras.optimizers.SGD(rate, momentum=0.9))
    saved = [keras.saving.serialize_keras_object(each) for each in (wrapper, optimizer)]
    # Files of an earlier version name other modules: the registered names alone must do.
    text = json.dumps(saved).replace('"module": "tfshed.', '"module": "tfshed.moved.')
    assert "tfshed.moved." in text
    code = f"""
import json, keras, tfshed
wrapper, optimizer = (keras.saving.deserialize_keras_object(x) for x in json.loads({text!r}))
assert type(wrapper) is tfshed.PruneLowMagnitude and type(optimizer) is tfshed.PruningOptimizer
assert wrapper.config.criterion.get_config() == {config.criterion.get_config()!r}
rate = optimizer.inner_optimizer.get_config()["learning_rate"]
print(wrapper.config.schedule, rate["class_name"])
"""
    out = python(code, keras.backend.backend()).strip()
    assert out == f"{schedule} MultiStep"
