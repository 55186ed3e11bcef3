"""Every optimizer of Keras, when nothing is due to be pruned: to the bit as without tfshed.

In training, and after saving in the middle; with mixed precision, moving averages and accumulated
gradients.
"""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest

import tfshed
from tests.nets import BACKEND, KERAS, data
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.core.backend import to_numpy

pytestmark = pytest.mark.backend

NEVER = tfshed.OneShot(0.5, step=10_000)
KINDS = [
    "SGD",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adadelta",
    "Adagrad",
    "Adamax",
    "Adafactor",
    "Nadam",
    "Ftrl",
    "Lion",
    "Lamb",
    "Muon",
    "ScheduleFreeAdamW",
]
WAYS = {
    "plain": {},
    "averages": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3},
    "accumulated": {"gradient_accumulation_steps": 2},
    "mixed": {},
}
# On PyTorch, which compiles nothing, all of it; on the others each way once, and what is special.
SPECIAL = [("Nadam", way) for way in WAYS] + [("Adam", way) for way in WAYS]
# The oldest Keras that tfshed runs with has no schedule-free optimizer.
KINDS = [kind for kind in KINDS if hasattr(keras.optimizers, kind)]
# And its Muon trains no TensorFlow variables.
if KERAS < (3, 13) and BACKEND == "tensorflow":
    KINDS.remove("Muon")
EVERY = [(kind, way) for kind in KINDS for way in WAYS]
CASES = [
    pytest.param(kind, way, marks=[] if quick else [pytest.mark.slow])
    for kind, way in EVERY
    for quick in [BACKEND == "torch" or (kind, way) in SPECIAL]
]


def make(kind, way, pruning):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="head")], name="net")
    rate = 1.0 if kind == "Adadelta" else 0.01
    optimizer = getattr(keras.optimizers, kind)(rate, **WAYS[way])
    if pruning:
        model = tfshed.prune_low_magnitude(model, NEVER, threshold=0.0)
    elif (kind, way) == ("Nadam", "mixed") or kind == "ScheduleFreeAdamW":
        # Inside of loss scaling plain Keras loses a variable of Nadam's, unless it is built before;
        # and built inside of TensorFlow's first step, its ScheduleFreeAdamW begins with zeros
        # instead of the weights.
        optimizer.build(model.trainable_variables)
    model.compile(optimizer, keras.losses.MeanSquaredError(), jit_compile=BACKEND == "jax")
    return model


def train(model, pruning, epochs=1):
    x, y = data(24)
    callbacks = [tfshed.UpdatePruningStep()] if pruning else []
    model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)


def state(model):
    """Weights, and the variables of the user's optimizer by their names without its own."""
    optimizer = model.optimizer
    while getattr(optimizer, "inner_optimizer", None) is not None:
        optimizer = optimizer.inner_optimizer
    found = {f"weight {i}": to_numpy(v) for i, v in enumerate(model.weights)}
    for v in optimizer.variables:
        # Without the names of the optimizer and of the layers, which a wrapper changes.
        name = re.sub(r".*[/_]head_", "", v.path).split("/")[-1]
        # One that Nadam gives no name.
        found["variable" if name.startswith("variable") else name] = to_numpy(v)
    return found


def same(found, wanted):
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_it_trains_and_resumes_as_without_pruning(kind, way, tmp_path):
    if way == "mixed":
        keras.mixed_precision.set_dtype_policy("mixed_float16")
    plain = make(kind, way, False)
    train(plain, False)
    middle = state(plain)
    second = way == "averages" and BACKEND == "jax"  # there plain Keras fails in a second fit
    if not second:
        train(plain, False)
    model = make(kind, way, True)
    train(model, True)
    same(state(model), middle)
    assert pruning_optimizer(model.optimizer) is not None
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    same(state(loaded), state(model))
    if not second:
        train(loaded, True)
        same(state(loaded), state(plain))
