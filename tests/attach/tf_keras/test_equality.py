"""Asked for tfmot's semantics, tfshed makes tfmot's masks: in every step, on both sides."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tests.attach.tf_keras.nets import real, tf_keras
from tfshed import tfmot
from tfshed.core.schedules.earlier import EarlierSchedule

STEPS = 10


def mlp(module):
    layers = module.layers
    return [
        layers.Dense(13, activation="tanh", name="a"),
        layers.Dense(6, name="b"),
        layers.Dense(3, name="c"),
    ], (8,)


def convolutional(module):
    layers = module.layers
    return [
        layers.Conv2D(8, 2, activation="tanh", name="a"),
        layers.Flatten(name="flat"),
        layers.Dense(3, name="b"),
    ], (4, 4, 4)


def build(module, make, values):
    layers, shape = make(module)
    model = module.Sequential([module.Input(shape), *layers])
    if values:
        model.set_weights(values)
    return model


def inner(model):
    layers = [getattr(layer, "layer", layer) for layer in model.layers]
    return [layer for layer in layers if hasattr(layer, "kernel")]


def recorder(module, model, look):
    """A callback that notes down `look(layer)` of every kernel's layer in every step."""
    rows = []
    kind = "on_train_batch_begin" if look is in_force else "on_train_batch_end"

    def note(self, batch, logs=None):
        rows.append([look(layer, model) for layer in inner(model)])

    return type("Recorder", (module.callbacks.Callback,), {kind: note})(), rows


def in_force(layer, model):
    """What the step that begins will compute with: weights are zero under the masks."""
    return layer.kernel.numpy() != 0


def tfmots(layer, model):
    wrapper = next(w for w in model.layers if getattr(w, "layer", None) is layer)
    return wrapper.pruning_vars[0][1].numpy() != 0


def steps(module, model, look, callback, optimizer, eager=True):
    shape = model.input_shape[1:]
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8 * STEPS, *shape)).astype("float32")
    y = rng.normal(size=(8 * STEPS, 3)).astype("float32")
    more = {"jit_compile": False} if module is keras else {}
    loss = module.losses.MeanSquaredError()
    model.compile(optimizer(module), loss, run_eagerly=eager, **more)
    record, rows = recorder(module, model, look)
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[callback, record])
    return rows


def sgd(module):
    return module.optimizers.SGD(0.05, momentum=0.9)


def adam(module):
    return module.optimizers.Adam(0.02)


CONSTANT = lambda names: names.ConstantSparsity(0.5, 3, frequency=2)  # noqa: E731
POLYNOMIAL = lambda names: names.PolynomialDecay(0.1, 0.8, 2, 8, frequency=3)  # noqa: E731
# Compiling costs more than nets as small as these.
CASES = {
    "constant": (mlp, CONSTANT, sgd, {}),
    "polynomial": (convolutional, POLYNOMIAL, adam, {}),
    "blocks AVG": (mlp, POLYNOMIAL, sgd, {"block_size": (2, 2), "block_pooling_type": "AVG"}),
    "blocks MAX": (mlp, POLYNOMIAL, adam, {"block_size": (1, 2), "block_pooling_type": "MAX"}),
}


def both(make, schedule, optimizer, options, eager=True):
    values = build(tf_keras, make, None).get_weights()
    theirs = real.prune_low_magnitude(build(tf_keras, make, values), schedule(real), **options)
    rows = steps(tf_keras, theirs, tfmots, real.UpdatePruningStep(), optimizer, eager)
    assert len(rows) == STEPS
    return values, rows


def differences(rows, others):
    assert len(rows) == len(others)
    return [sum(int((a != b).sum()) for a, b in zip(*pair)) for pair in zip(rows, others)]


@pytest.mark.parametrize("case", CASES)
def test_masks_are_those_of_tfmot_in_every_step(case):
    make, schedule, optimizer, options = CASES[case]
    eager = case != "polynomial"
    values, rows = both(make, schedule, optimizer, options, eager)
    # It does prune, and not the same in every update.
    kept = [sum(int(m.sum()) for m in row) for row in rows]
    assert kept[0] > kept[-1] and any(
        (a != b).any() for x, y in zip(rows[3:], rows[4:]) for a, b in zip(x, y)
    )

    ours = tfshed.prune_low_magnitude(
        build(tf_keras, make, values), schedule(tfshed), monotone=False, **options
    )
    found = steps(tf_keras, ours, in_force, tfmot.UpdatePruningStep(), optimizer, eager)
    assert differences(rows, found) == [0] * STEPS

    ours = tfshed.prune_low_magnitude(
        build(keras, make, values), EarlierSchedule(schedule(tfshed)), monotone=False, **options
    )
    found = steps(keras, ours, in_force, tfshed.UpdatePruningStep(), optimizer, eager)
    assert differences(rows, found) == [0] * STEPS


def test_m_by_n_and_updates_from_the_first_step_on():
    once = lambda names: names.ConstantSparsity(0.5, 0)  # noqa: E731
    each = lambda names: names.ConstantSparsity(0.5, 0, frequency=1)  # noqa: E731
    for schedule, options in ((once, {"sparsity_m_by_n": (2, 4)}), (each, {})):
        values, rows = both(convolutional, schedule, sgd, options)
        ours = tfshed.prune_low_magnitude(
            build(tf_keras, convolutional, values), schedule(tfshed), monotone=False, **options
        )
        found = steps(tf_keras, ours, in_force, tfmot.UpdatePruningStep(), sgd)
        assert differences(rows, found) == [0] * STEPS
        # Keras 3: before the first step there is `sparsify`.
        plain = build(keras, convolutional, values)
        granularity = tfshed.NxM(2, 4) if options else None
        tfshed.sparsify(plain, 0.5, scope="layer", granularity=granularity)
        ours = tfshed.prune_low_magnitude(
            plain, EarlierSchedule(schedule(tfshed)), monotone=False, **options
        )
        if options:
            ours = tfshed.prune_low_magnitude(plain, schedule(tfshed), **options)
        found = steps(keras, ours, in_force, tfshed.UpdatePruningStep(), sgd)
        assert differences(rows, found) == [0] * STEPS


def test_schedules_cross_over():
    ours = tfshed.ExponentialDecay(0.75, time_constant=3, end_step=8, frequency=2)
    assert isinstance(ours, real.PruningSchedule)
    theirs = real.prune_low_magnitude(build(tf_keras, mlp, None), ours)
    rows = steps(tf_keras, theirs, tfmots, real.UpdatePruningStep(), sgd)
    assert [m.mean() for m in rows[-1]] == pytest.approx([0.25] * 3, abs=0.03)
    tfmots_own = real.PolynomialDecay(0.0, 0.75, 2, 8, frequency=2)
    model = tfshed.prune_low_magnitude(build(keras, mlp, None), tfmots_own)
    rows = steps(keras, model, in_force, tfshed.UpdatePruningStep(), sgd)
    assert [m.mean() for m in rows[-1]] == pytest.approx([0.25] * 3, abs=0.03)


@pytest.mark.filterwarnings("ignore:the net has shed itself")
def test_by_default_both_sides_of_tfshed_prune_alike():
    schedule = tfshed.LinearDecay(0.75, end_step=8, frequency=2)
    values = build(tf_keras, mlp, None).get_weights()
    found = []
    for module, callback in ((tf_keras, tfmot.UpdatePruningStep()), (keras, None)):
        model = tfshed.prune_low_magnitude(build(module, mlp, values), schedule)
        callback = callback or tfshed.UpdatePruningStep()
        found.append(steps(module, model, in_force, callback, sgd))
    assert differences(*found) == [0] * STEPS
    assert sum(int(m.sum()) for m in found[0][-1]) < 0.3 * sum(m.size for m in found[0][-1])
