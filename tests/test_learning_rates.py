"""tfshed.learning_rates: exact values at every boundary, saved and in a real fit."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests.nets import BACKEND, array
from tfshed.learning_rates import CyclicStep, MultiStep, Warmup, cyclic, three_step

pytestmark = pytest.mark.backend

# Of the paper: ImageNet at batch 128; the last step of its 35 epochs is past 350 000.
STEPS = 10009


def compiled(schedule):
    """The schedule of a step, inside a compiled function where the backend has one."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(schedule, jit_compile=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(schedule)
    return schedule


def equation_1(t):
    return 1e-2 if math.floor(t) < 11 else 1e-3 if math.floor(t) < 23 else 1e-4


def equation_2(t):
    return {0: 1e-2, 1: 1e-2, 2: 1e-2, 3: 1e-3, 4: 1e-3}.get(math.floor(t) % 7, 1e-4)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize(
    ("schedule", "equation"), [(three_step(STEPS), equation_1), (cyclic(STEPS), equation_2)]
)
def test_the_equations_of_the_paper_at_every_boundary(schedule, equation, dtype):
    run = compiled(schedule)
    for epoch in range(1, 40):
        for step in (epoch * STEPS - 1, epoch * STEPS):
            rate = run(ops.convert_to_tensor(step, dtype))
            assert array(rate) == np.float32(equation(step / STEPS)), step
            assert keras.backend.standardize_dtype(rate.dtype) == "float32"


@st.composite
def pieces(draw):
    boundaries = sorted(draw(st.sets(st.integers(1, 400_000), max_size=4)))
    values = draw(
        st.lists(st.floats(1e-6, 10), min_size=len(boundaries) + 1, max_size=len(boundaries) + 1)
    )
    steps_per_epoch = draw(st.integers(1, 10_009))
    return values, boundaries, steps_per_epoch


def by_hand(values, boundaries, step):
    return np.float32(values[sum(step >= b for b in boundaries)])


@settings(max_examples=30, deadline=None)
@given(pieces(), st.integers(0, 400_000), st.integers(1, 50_000), st.floats(0, 3))
def test_any_pieces_also_after_a_round_trip(drawn, step, tail, warmup):
    values, boundaries, steps_per_epoch = drawn
    milestones = [b / steps_per_epoch for b in boundaries]
    plain = MultiStep(values, milestones, steps_per_epoch)
    cycle = max([0, *boundaries]) + tail
    turning = CyclicStep(values, milestones, cycle / steps_per_epoch, steps_per_epoch)
    warm = MultiStep(values, milestones, steps_per_epoch, warmup)
    first = round(warmup * steps_per_epoch)
    for near in {step, *boundaries, *(b - 1 for b in boundaries)}:
        value = by_hand(values, boundaries, near)
        assert array(again(plain)(near)) == array(plain(near)) == value
        expected = by_hand(values, boundaries, near % cycle)
        assert array(again(turning)(near)) == array(turning(near)) == expected
        factor = min(near + 1, first) / first if first else 1
        assert array(again(warm)(near)) == array(warm(near))
        np.testing.assert_allclose(array(warm(near)), value * factor, rtol=1e-6)


def again(schedule):
    schedules = keras.optimizers.schedules
    other = schedules.deserialize(schedules.serialize(schedule))
    assert type(other) is type(schedule) and repr(other) == repr(schedule)
    return other


@keras.saving.register_keras_serializable("tests")
def output(y, prediction):
    """A loss whose gradient is 1 at an input of 1: the weight moves by the rate."""
    return prediction


@pytest.mark.parametrize(
    "schedule",
    [
        MultiStep((0.5, 0.25, 0.125), (1, 2.25), 4, warmup_epochs=0.5),
        CyclicStep((0.5, 0.25), (0.5,), 1.5, 4),
    ],
)
def test_a_fit_steps_by_the_rate(schedule, tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(schedule), output)
    path = tmp_path / "model.keras"
    rates, moved = [], []

    class Moves(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if BACKEND == "jax":
                self.model.jax_state_sync()
            moved.append(array(self.model.trainable_variables[0].value).item())

    for _ in range(3):  # epochs of four steps, saved and loaded in between
        moved[:] = [array(model.trainable_variables[0].value).item()]
        model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=1, verbose=0, callbacks=[Moves()])
        expected = [array(schedule(len(rates) + i)).item() for i in range(4)]
        np.testing.assert_allclose(-np.diff(moved), expected, rtol=1e-5)
        rates += expected
        model.save(path)
        model = keras.saving.load_model(path)
        assert type(model.optimizer._learning_rate) is type(schedule)
    assert len(set(rates)) >= 2


GOOD = {"values": (0.1, 0.01), "milestones": (1,), "steps_per_epoch": 10}


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (MultiStep, {"values": (0.1,)}, "one value more than milestones.*1 values and 1 milest"),
        (MultiStep, {"values": (0.1, 0.0)}, r"values\[1\] to be a positive number, received 0.0"),
        (MultiStep, {"values": 0.1}, "values to be a list of numbers, received 0.1"),
        (MultiStep, {"values": (0.1, float("nan"))}, r"values\[1\].*positive.*nan"),
        (MultiStep, {"milestones": (0,)}, r"milestones\[0\] to be a positive number, received 0"),
        (MultiStep, {"milestones": (0.01,)}, r"milestones to grow.*steps \[0\]"),
        (MultiStep, {"values": (3, 2, 1), "milestones": (2, 1)}, r"grow.*\[20, 10\]"),
        (MultiStep, {"values": (3, 2, 1), "milestones": (1, 1.01)}, r"grow.*\[10, 10\]"),
        (MultiStep, {"steps_per_epoch": 0}, "steps_per_epoch to be an integer >= 1, received 0"),
        (MultiStep, {"steps_per_epoch": 2.5}, "steps_per_epoch to be an integer.*2.5"),
        (MultiStep, {"warmup_epochs": -1}, "warmup_epochs to be >= 0, received -1"),
        (CyclicStep, {"cycle": 1}, r"longer than the last milestone.*cycle=1 and.*\(1,\)"),
        (CyclicStep, {"cycle": 0}, "cycle to be a positive number, received 0"),
    ],
)
def test_errors(kind, wrong, message):
    with pytest.raises(ValueError, match=message):
        kind(**{**GOOD, **wrong})


@pytest.mark.backend
def test_warm_up_around_keras_own_schedule_is_saved_and_trained_with():
    inside = keras.optimizers.schedules.CosineDecay(0.5, 8)
    rate = Warmup(inside, 4)
    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(rate)))
    again = keras.saving.deserialize_keras_object(stored)
    for step in range(9):
        wanted = float(inside(step)) * min(1, (step + 1) / 4)
        assert float(rate(step)) == pytest.approx(wanted, rel=1e-6)
        assert float(again(step)) == float(rate(step))
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    net.compile(keras.optimizers.SGD(again), lambda y, p: keras.ops.mean(p))
    start = net.get_weights()[0]
    net.fit(np.ones((6, 2), "float32"), np.ones(6), batch_size=1, verbose=0)
    moved = start - net.get_weights()[0]
    np.testing.assert_allclose(moved, sum(float(rate(step)) for step in range(6)), rtol=1e-5)
    for wrong in (0.1, "cosine", None):
        with pytest.raises(ValueError, match="schedule: expected a LearningRateSchedule"):
            Warmup(wrong, 4)
    with pytest.raises(ValueError, match="expected steps to be an integer >= 1, received 0"):
        Warmup(inside, 0)
