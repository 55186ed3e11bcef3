"""Importing tfshed.tfmot changes nothing but sys.modules, in any order of imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import tensorflow as tf

# Each in a process of its own: what to import, in this order.
ORDERS = {
    "ours first": ["from tfshed import tfmot", "import tensorflow as tf", "import keras"],
    "after tfmot": [
        "import tensorflow as tf",
        "tf.keras.layers",
        "import tensorflow_model_optimization",
        "import tfshed",
        "from tfshed import tfmot",
    ],
}
CHECK = """
import os, sys
before = dict(os.environ)
{lines}
import keras, tf_keras, tfshed
import tensorflow_model_optimization as real
assert {after} or dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
assert tf.keras.layers.Dense.__module__.split(".")[0] == "{keras}", tf.keras.layers.Dense
assert keras.__version__[0] == "3" and keras.layers.Dense.__module__.startswith("keras.")
assert tf_keras.layers.Dense.__module__.startswith("tf_keras.")

def net(k):
    return k.Sequential([k.Input((8,)), k.layers.Dense(4, name="head")])

for k in (keras, tf_keras):
    model = tfshed.prune_low_magnitude(net(k), tfshed.ConstantSparsity(0.5, 0))
    assert model.layers[-1].name == "prune_low_magnitude_head"
    assert isinstance(model, k.Model)
    assert isinstance(tfshed.strip_pruning(model).layers[-1], k.layers.Dense)
# tfmot goes on pruning by itself, layers that its registry must find too.
lstm = tf_keras.Sequential([tf_keras.Input((3, 2)), tf_keras.layers.LSTM(4)])
real.sparsity.keras.prune_low_magnitude(lstm)
print("done")
"""


def python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr[-2000:]


def check(lines, keras="keras", after=False, **environment):
    code = CHECK.format(lines="\n".join(lines), keras=keras, after=after)
    returned, out, error = python(code, **environment)
    assert returned == 0 and out.endswith("done\n"), error


@pytest.mark.parametrize(
    "order", ["ours first", pytest.param("after tfmot", marks=pytest.mark.slow)]
)
def test_environment_and_tf_keras_stay_as_they_were(order):
    # What tfmot does to the environment when the user imports it is not ours to undo.
    check(ORDERS[order], after=order == "after tfmot")


def test_imported_last_as_here():
    from tfshed import tfmot

    assert tfmot.sparsity.keras.UpdatePruningStep is tfmot.UpdatePruningStep
    assert "TF_USE_LEGACY_KERAS" not in os.environ
    assert tf.keras.layers.Dense.__module__.startswith("keras.")


def test_a_user_who_asked_for_keras_2_has_it():
    check(ORDERS["ours first"], keras="tf_keras", TF_USE_LEGACY_KERAS="1")


def test_other_backends_are_told():
    pytest.importorskip("jax")
    code = (
        "import tfshed\ntry:\n    from tfshed import tfmot\nexcept ImportError as e:\n    print(e)"
    )
    returned, out, error = python(code, KERAS_BACKEND="jax")
    assert returned == 0, error
    assert "expected the TensorFlow backend" in out and "KERAS_BACKEND=tensorflow" in out
