"""What `import tfshed` does to a process: nothing, but for importing Keras."""

from __future__ import annotations

import os
import subprocess
import sys

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
    assert set(tfshed.__all__) <= set(found)
    assert {"export", "schedules", "models", "experiments", "__version__"} <= set(found)
    # Neither the folders of the package nor what its first file imports.
    assert not {"attach", "core", "observe", "importlib", "keras", "Any"} & set(found)
    assert ("tfmot" in found) == (keras.backend.backend() == "tensorflow")
    # What is listed is there, so that `help(tfshed)` and inspect work.
    for name in found:
        assert getattr(tfshed, name) is not None
