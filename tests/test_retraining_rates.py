"""Rates for retraining: exact values, made of any rate of training, saved, in a real fit."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import ops

from tests.nets import array
from tests.test_learning_rates import compiled
from tfshed.experiments import check, from_recipe, recipe
from tfshed.learning_rates import (
    CyclicStep,
    MultiStep,
    OneCycle,
    Rewound,
    ScaledRestart,
    ScheduledMomentumSGD,
)

pytestmark = pytest.mark.backend

# Renda et al. on CIFAR-10, and He et al.'s drops as Le & Hua use them.
TRAINING = MultiStep((0.1, 0.01, 0.001), (80, 120), steps_per_epoch=391)


def value(schedule, step):
    return float(array(compiled(schedule)(ops.convert_to_tensor(step, "int32"))))


def test_one_cycle_has_its_exact_values():
    rate = OneCycle(1e-3, 0.1, 1e-5, steps=1000)
    run = compiled(rate)
    for step, wanted in ((0, 1e-3), (100, 0.1), (999, 1e-5), (5000, 1e-5)):
        assert float(array(run(ops.convert_to_tensor(step)))) == np.float32(wanted)
    steps = np.arange(1000)
    found = np.array([float(array(run(ops.convert_to_tensor(int(s))))) for s in steps[::50]])
    up = 1e-3 + 0.099 * (1 - np.cos(np.pi * steps / 100)) / 2
    down = 0.1 + (1e-5 - 0.1) * (1 - np.cos(np.pi * (steps - 100) / 899)) / 2
    np.testing.assert_allclose(found, np.where(steps <= 100, up, down)[::50], rtol=1e-4)


def test_scaled_restart_drops_where_the_paper_says():
    rate = ScaledRestart(1e-3, 0.1, epochs=72, steps_per_epoch=391)
    at = {0: 1e-3, 7: 0.1, 38: 0.1, 39: 0.01, 54: 0.01, 55: 0.001, 71: 0.001}
    for epoch, wanted in at.items():
        assert value(rate, 391 * epoch) == np.float32(wanted), epoch
    assert value(rate, 391 * 39 - 1) == np.float32(0.1)
    assert value(rate, 391 * 55 - 1) == np.float32(0.01)
    # 0.45 * 20 and 0.675 * 40 are a hair below 9 and 27 as floats are multiplied.
    assert value(ScaledRestart(1e-3, 0.1, 20, 1), 10) == np.float32(0.1)
    assert value(ScaledRestart(1e-3, 0.1, 20, 1), 11) == np.float32(0.01)
    # Too short for a warm-up: it begins at the highest rate.
    assert value(ScaledRestart(1e-3, 0.1, 9, 1), 0) == np.float32(0.1)


@pytest.mark.parametrize(
    "training",
    [
        TRAINING,
        CyclicStep((0.1, 0.01), (2,), cycle=3, steps_per_epoch=391),
        keras.optimizers.schedules.CosineDecay(0.1, 160 * 391),
    ],
)
def test_rewinding_is_the_end_of_any_rate(training):
    rate = Rewound(training, begin=70 * 391)
    for epoch in (0, 9, 10, 49, 50, 89):
        assert value(rate, 391 * epoch) == value(training, 391 * (70 + epoch))


def test_stretching_moves_every_drop():
    rate = Rewound(TRAINING, 0, stretch=243 / 160)
    for drop, before, after in ((80, 0.1, 0.01), (120, 0.01, 0.001)):
        first = -(-drop * 391 * 243 // 160)
        assert value(rate, first) == np.float32(after)
        assert value(rate, first - 1) == np.float32(before)


@pytest.mark.parametrize(
    "schedule",
    [
        OneCycle(1e-3, 0.1, 1e-5, 50, rise=0.3),
        ScaledRestart(1e-3, 0.1, 30, 4),
        Rewound(TRAINING, 7, stretch=1.5),
    ],
)
def test_schedules_are_saved(schedule):
    kept = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    again = keras.saving.deserialize_keras_object(kept)
    assert repr(again) == repr(schedule)
    assert [float(array(again(s))) for s in (0, 11, 40)] == [
        float(array(schedule(s))) for s in (0, 11, 40)
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OneCycle(1e-3, 0.1, 1e-5, 2), "steps"),
        (lambda: OneCycle(1e-3, 0.1, 1e-5, 20, rise=1), "rise to be below 1"),
        (lambda: ScaledRestart(0.1, 0.01, 10, 5), "lowest <= highest"),
        (lambda: Rewound(0.1, 5), "LearningRateSchedule of Keras, received 0.1"),
        (lambda: Rewound(TRAINING, -1), "begin"),
        (lambda: Rewound(TRAINING, 0, 1e9), "stretch"),
        (lambda: ScheduledMomentumSGD(0.1, 0.9), "momentum_schedule: expected"),
    ],
)
def test_errors_name_the_argument(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def trained(optimizer, steps=6):
    x = np.linspace(0, 1, 8, dtype="float32").reshape(4, 2)
    keras.utils.set_random_seed(1)
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    net.compile(optimizer, "mse")
    net.fit(x, x @ np.ones((2, 3), "float32"), batch_size=4, epochs=steps, verbose=0)
    return net


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_constant_momentum_is_kerass_own(nesterov):
    constant = MultiStep((0.9,), (), 1)
    ours = trained(ScheduledMomentumSGD(0.1, constant, nesterov))
    keras_own = trained(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=nesterov))
    for a, b in zip(ours.get_weights(), keras_own.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_momentum_follows_its_schedule(tmp_path):
    """The same as a loop in NumPy; and a saved model trains on with it."""
    schedule = OneCycle(0.95, 0.5, 0.9, steps=6, rise=0.5)
    net = trained(ScheduledMomentumSGD(0.1, schedule))
    x = np.linspace(0, 1, 8, dtype="float32").reshape(4, 2)
    keras.utils.set_random_seed(1)
    w, b = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).get_weights()
    m, n = np.zeros_like(w), np.zeros_like(b)
    for step in range(6):
        error = 2 * (x @ w + b - x @ np.ones((2, 3), "float32")) / 12
        factor = float(array(schedule(step)))
        m, n = factor * m - 0.1 * (x.T @ error), factor * n - 0.1 * error.sum(0)
        w, b = w + m, b + n
    np.testing.assert_allclose(net.get_weights()[0], w, rtol=1e-4, atol=1e-6)
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    assert isinstance(again.optimizer, ScheduledMomentumSGD)
    assert repr(again.optimizer.momentum_schedule) == repr(schedule)
    # The momentum that was saved, and not a fresh one, goes into the next step.
    for each in (net, again):
        each.fit(x, x @ np.ones((2, 3), "float32"), batch_size=4, verbose=0)
    np.testing.assert_allclose(net.get_weights()[0], again.get_weights()[0], rtol=1e-6)


def rate_of(schedule, epochs, **options):
    config = recipe()
    config.train.epochs = 160
    config.train.learning_rate.rates = (0.1, 0.01, 0.001)
    config.train.learning_rate.milestones = (80.0, 120.0)
    phase = config.prune
    phase.epochs = epochs
    phase.learning_rate.schedule, phase.learning_rate.rates = schedule, ()
    phase.learning_rate.milestones = ()
    phase.learning_rate.options = options
    check(config)
    return from_recipe.learning_rate(phase, 10, training=config.train)


@pytest.mark.parametrize(
    ("schedule", "epochs", "wanted"),
    [
        ("fine_tune", 90, {0: 1e-3, 89: 1e-3}),
        ("rewind", 90, {0: 0.1, 9: 0.1, 10: 0.01, 49: 0.01, 50: 1e-3, 89: 1e-3}),
        ("rewind", 40, {0: 1e-3, 39: 1e-3}),
        ("as_training", 240, {0: 0.1, 119: 0.1, 120: 0.01, 180: 1e-3}),
        ("scaled_restart", 72, {0: 1e-3, 7: 0.1, 39: 0.01, 55: 1e-3}),
        ("one_cycle", 50, {0: 1e-3, 5: 0.1}),
    ],
)
def test_rates_of_recipes_are_made_of_the_rate_of_training(schedule, epochs, wanted):
    rate = rate_of(schedule, epochs)
    for epoch, expected in wanted.items():
        assert value(rate, 10 * epoch) == pytest.approx(expected, rel=1e-6), epoch


def test_both_endings_of_one_cycle():
    assert value(rate_of("one_cycle", 50), 499) == np.float32(1e-3)
    assert value(rate_of("one_cycle", 50, ending="ten_thousandth"), 499) == np.float32(1e-5)
    with pytest.raises(ValueError, match="options.ending: expected one of lowest"):
        rate_of("one_cycle", 50, ending="low")


def test_what_rewinding_cannot_do_is_said():
    with pytest.raises(ValueError, match="at most 160, those of training"):
        rate_of("rewind", 161)
    config = recipe()
    config.train.learning_rate.schedule = "rewind"
    with pytest.raises(ValueError, match="in the phase train"):
        from_recipe.learning_rate(config.train, 10)


def test_a_recipe_cycles_the_momentum():
    config = recipe()
    phase = config.prune
    phase.epochs, phase.momentum, phase.low_momentum = 10, 0.95, 0.85
    phase.learning_rate.schedule = "one_cycle"
    check(config)
    optimizer = from_recipe.optimizer(phase, 10, training=config.train)
    values = [round(float(array(optimizer.momentum_schedule(s))), 4) for s in (0, 10, 99)]
    assert values == [0.95, 0.85, 0.95]
    phase.low_momentum = 0.99
    with pytest.raises(ValueError, match="low_momentum"):
        check(config)
