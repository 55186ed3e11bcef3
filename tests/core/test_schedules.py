"""Schedules: values, due steps, every framework's tensors, round trips, errors."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfshed.core.schedules import (
    ConstantSparsity,
    CyclicExponentialDecay,
    ExponentialDecay,
    Iterative,
    LinearDecay,
    OneShot,
    PolynomialDecay,
    PruningSchedule,
)

SPE = 391
ROOT = pathlib.Path(__file__).resolve().parents[2]
MODES = ("freeze", "hold", "stretch")


def cyclic(mode="freeze", **options):
    options = {"end_step": 35 * SPE, "steps_per_epoch": SPE, "frequency": 100, **options}
    return CyclicExponentialDecay(0.85, 3 * SPE, mode=mode, **options)


ALL = [
    ConstantSparsity(0.5, 10, 95, 20),
    ConstantSparsity(0.5, 10),
    PolynomialDecay(0.1, 0.8, 10, 250, power=2.5, frequency=30),
    PolynomialDecay(0.1, 0.8, 20, 20),
    LinearDecay(0.85, 35 * SPE, begin_step=7, initial_sparsity=0.2),
    ExponentialDecay(0.85, 3 * SPE, 35 * SPE, begin_step=3),
    ExponentialDecay(0.85, 30, 60, initial_sparsity=0.5, snap_final=False),
    *(cyclic(mode, begin_step=5) for mode in MODES),
    OneShot(0.8, step=30),
    Iterative(0.85, steps_per_round=50, begin_step=20),
]
EPOCHS = SPE * np.arange(1, 37)
STEPS = np.unique(
    np.concatenate([np.arange(0, 310, 5), [570], *(EPOCHS + d for d in (-1, 0, 1, 3, 5, 7))])
)


def tf_function(schedule, steps):
    tf = pytest.importorskip("tensorflow")
    return tf.function(lambda step: schedule(step))(tf.constant(steps, tf.int32))


def tf_xla(schedule, steps):
    tf = pytest.importorskip("tensorflow")
    return tf.function(schedule.__call__, jit_compile=True)(tf.constant(steps, tf.int64))


def jax_jit(schedule, steps):
    jax = pytest.importorskip("jax")
    return jax.jit(schedule)(jax.numpy.asarray(steps, "int32"))


def torch_eager(schedule, steps):
    torch = pytest.importorskip("torch")
    return schedule(torch.asarray(steps))


def torch_compile(schedule, steps):
    torch = pytest.importorskip("torch")
    torch.compiler.reset()  # Else the schedules of other tests count as recompilations.
    # The graph must hold together; which compiler then takes it makes no difference here.
    compiled = torch.compile(schedule.__call__, fullgraph=True, backend="eager", dynamic=True)
    return compiled(torch.asarray(steps))


def numpy_array(schedule, steps):
    return schedule(np.asarray(steps))


FRAMEWORKS = [numpy_array, tf_function, tf_xla, jax_jit, torch_eager, torch_compile]


frameworks = pytest.mark.parametrize(
    "call",
    [*FRAMEWORKS[:-1], pytest.param(torch_compile, marks=pytest.mark.slow)],
    ids=lambda call: call.__name__,
)
quick = pytest.mark.parametrize(
    "call", [numpy_array, tf_function, jax_jit, torch_eager], ids=lambda call: call.__name__
)

PAPER = [
    (
        ExponentialDecay(0.85, 3 * SPE, 35 * SPE),
        {1: 0.759, 2: 0.586, 3: 0.463, 5: 0.311, 10: 0.180},
    ),
    (ExponentialDecay(0.85, SPE, 35 * SPE), {1: 0.463}),
    (LinearDecay(0.85, 35 * SPE), {5: 0.879, 20: 0.514}),
]


def formula(schedule, t):
    if isinstance(schedule, LinearDecay):
        return 1 - 0.85 * t / 35
    return 0.15 + 0.85 * np.exp(-t * SPE / schedule.time_constant)


@frameworks
def test_the_papers_values(call):
    for schedule, values in PAPER:
        epochs = np.array(list(values))
        sparsity = np.asarray(call(schedule, epochs * SPE)[1])
        assert np.round(1 - sparsity, 3).tolist() == pytest.approx(list(values.values()), abs=1e-6)
        assert 1 - sparsity == pytest.approx(formula(schedule, epochs), abs=1e-6)


@frameworks
def test_all_frameworks_agree_with_python(call):
    for schedule in ALL:
        due, sparsity = call(schedule, STEPS)
        expected = [schedule(int(step)) for step in STEPS]
        assert {(type(flag), type(value)) for flag, value in expected} == {(bool, float)}
        assert np.asarray(due).tolist() == [flag for flag, _ in expected], schedule
        error = np.abs(np.asarray(sparsity) - [value for _, value in expected])
        assert error.max() < 1e-6, schedule
        if call is not numpy_array:
            assert np.asarray(due).dtype == bool and np.asarray(sparsity).dtype == np.float32


def test_scalar_tensors_give_scalar_tensors():
    for call in FRAMEWORKS:
        due, sparsity = call(PolynomialDecay(0.0, 0.8, 0, 200), 100)
        assert np.shape(due) == np.shape(sparsity) == ()
        assert bool(due) and float(sparsity) == pytest.approx(0.7, abs=1e-6)


def test_keep_ratio_of_tensors_variables_and_small_integers():
    schedule = PolynomialDecay(0.0, 0.8, 0, 1000)
    tf = pytest.importorskip("tensorflow")
    torch = pytest.importorskip("torch")
    jnp = pytest.importorskip("jax.numpy")
    values = [tf.Variable(100, dtype=tf.int64), tf.constant(100, tf.uint8), tf.constant(100.0)]
    values += [tf.constant(100.0, tf.float64), tf.constant(100.0, tf.bfloat16)]
    values += [torch.tensor(100, dtype=torch.uint8), torch.tensor(100.0, dtype=torch.float64)]
    values += [jnp.uint8(100), jnp.float32(100), jnp.asarray(100), jnp.bfloat16(100)]
    values += [np.uint8(100), np.float16(100), np.asarray(100), np.uint64(100), 100.0, 100]
    values += [keras.Variable(100, dtype="int32", trainable=False)]
    for step in values:
        assert float(schedule.keep_ratio(step)) == pytest.approx(0.2 + 0.8 * 0.9**3, abs=1e-6)
        assert bool(schedule(step)[0])
    assert type(schedule.keep_ratio(np.uint8(100))) is float


@quick
def test_late_begin_keeps_precision(call):
    begin = 2**24 + 1
    schedule = LinearDecay(0.8, begin + 10, begin_step=begin, frequency=1)
    sparsity = np.asarray(call(schedule, begin + np.arange(11))[1])
    assert sparsity == pytest.approx(0.08 * np.arange(11), abs=1e-6)


def test_other_steps_are_refused():
    for step in ("7", None, True, [object()]):
        with pytest.raises(TypeError, match="expected step to be a number or a tensor, received"):
            OneShot(0.5)(step)


def test_normalised_rates():
    t, h = np.arange(1, 30), 1e-3
    linear, exponential = PAPER[2][0], PAPER[0][0]
    for schedule, expected in ((linear, -1 / (35 - t)), (exponential, np.full(29, -1 / 3))):
        low, mid, high = (schedule.keep_ratio((t + d) * float(SPE)) for d in (-h, 0, h))
        assert (high - low) / (2 * h) / (mid - 0.15) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode, frequency", [("freeze", 1), *((mode, 100) for mode in MODES)])
def test_gates_against_an_independent_reference(mode, frequency):
    schedule = cyclic(mode, snap_final=False, frequency=frequency)
    last = 30 * SPE  # the last gate closes here, and with it the schedule
    for step in [*range(0, 36 * SPE, 23), *(k * SPE for k in range(36)), 782, 783, 3500]:
        cycle, place = divmod(min(step, last), 7 * SPE)
        since = min(place, 2 * SPE) / SPE
        t = {
            "freeze": 2 * cycle + since,
            "hold": 7 * cycle + since,
            "stretch": 7 * cycle + 3.5 * since,
        }
        due, sparsity = schedule(step)
        assert 1 - sparsity == pytest.approx(0.15 + 0.85 * np.exp(-t[mode] / 3), abs=1e-12)
        tick = step % frequency == 0 and place <= 2 * SPE
        assert due == (step <= last and (tick or place == 2 * SPE))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", [35 * SPE, 30 * SPE + 1, 29 * SPE, 28 * SPE + 1, 28 * SPE, SPE])
def test_the_cyclic_schedule_ends_where_its_last_gate_closes(mode, end):
    """At `end_step` itself, long after the gate, the rate is low: a cut there never heals."""
    schedule, residue = cyclic(mode, end_step=end), cyclic(mode, end_step=end, snap_final=False)
    steps = np.arange(end + 10)
    due, sparsity = schedule(steps)
    opens = (end - 1) // (7 * SPE) * 7 * SPE
    closes = min(opens + 2 * SPE, end)
    assert steps[due][-1] == closes
    assert (sparsity[closes:] == 0.85).all() and (sparsity[:closes] < 0.85).all()
    # The gates before the last one are eq. 4's, and in the last one the rest goes little by little.
    early = steps <= opens
    assert sparsity[early] == pytest.approx(residue(steps)[1][early])
    cuts = np.diff(sparsity[opens : closes + 1])
    assert (cuts > 0).all() and cuts[-1] < 2 * cuts[: max(1, len(cuts) // 2)].max()


def test_stretch_meets_the_exponential_where_a_cycle_ends():
    ends = 7 * SPE * np.arange(6)
    assert cyclic("stretch").keep_ratio(ends) == pytest.approx(PAPER[0][0].keep_ratio(ends))
    # An update is due where the gate ends, so the mask itself is there for the rest of the cycle.
    assert cyclic("stretch")(2 * SPE) == (True, pytest.approx(PAPER[0][0](7 * SPE)[1]))


def test_snap_final_is_the_only_difference_to_the_residue():
    snapped, plain = (ExponentialDecay(0.85, 30, 60, snap_final=snap) for snap in (True, False))
    assert snapped(59) == plain(59)
    assert snapped(60)[1] == snapped(99)[1] == 0.85
    assert plain(60)[1] == plain(99)[1] == pytest.approx(0.85 * (1 - np.exp(-2)))


spans = st.tuples(st.integers(0, 50), st.integers(1, 200), st.integers(1, 250))
kinds = st.sampled_from(["constant", "poly", "linear", "exp", *MODES])


def build(kind, begin, end, frequency, low=0.1, high=0.8):
    if kind == "constant":
        return ConstantSparsity(high, begin, end, frequency)
    if kind == "poly":
        return PolynomialDecay(low, high, begin, end, 3, frequency)
    if kind == "linear":
        return LinearDecay(high, end, begin, low, frequency)
    if kind == "exp":
        return ExponentialDecay(high, 20, end, begin, low, frequency)
    return CyclicExponentialDecay(high, 20, end, 10, 7, 2, kind, begin, low, frequency)


@settings(max_examples=60, deadline=None)
@given(kinds, spans)
def test_due_steps(kind, span):
    begin, length, frequency = span
    schedule = build(kind, begin, begin + length, frequency)
    steps = np.arange(begin + length + 60)
    due, sparsity = schedule(steps)
    fired = steps[due].tolist()
    last = length
    if kind in MODES:  # cycles of 70 steps with a gate of 20
        last = min((length - 1) // 70 * 70 + 20, length)
    assert fired[-1] == begin + last and sparsity[fired[-1]] == 0.8  # whatever the frequency
    assert fired[0] == begin
    assert (sparsity[begin + last :] == 0.8).all()
    assert (sparsity[:begin] == schedule.initial_sparsity).all()
    if kind not in MODES:
        assert fired == sorted({*range(begin, begin + length + 1, frequency), begin + length})


@settings(max_examples=60, deadline=None)
@given(kinds, spans, st.floats(0, 0.99), st.floats(0, 0.99))
def test_keep_ratio_never_rises(kind, span, one, other):
    begin, length, frequency = span
    schedule = build(kind, begin, begin + length, frequency, *sorted((one, other)))
    keep = schedule.keep_ratio(np.arange(begin + length + 60))
    assert (np.diff(keep) <= 1e-12).all()
    assert (keep > 0).all() and (keep <= 1).all()


def test_begin_zero_is_due_at_zero():
    schedules = [build(kind, 0, 200, 100) for kind in ("constant", "poly", "linear", "exp", *MODES)]
    for schedule in [*schedules, OneShot(0.8), Iterative(0.8, 100), ConstantSparsity(0.8, 0)]:
        assert schedule(0)[0] is True


@quick
def test_begin_equal_to_end(call):
    for kind, before in (("constant", 0.0), ("poly", 0.1), ("linear", 0.1)):
        due, sparsity = call(build(kind, 20, 20, 100), np.arange(18, 23))
        assert np.asarray(sparsity) == pytest.approx([before, before, 0.8, 0.8, 0.8], abs=1e-6)
        assert np.asarray(due).tolist() == [False, False, True, False, False]


def test_constant_for_ever():
    schedule = ConstantSparsity(0.5, 10)
    assert [schedule(step)[0] for step in (9, 10, 110, 111, 10 + 100 * 10**6)] == [0, 1, 1, 0, 1]
    assert (schedule(9)[1], schedule(10)[1], schedule(10**9)[1]) == (0.0, 0.5, 0.5)
    assert schedule.final_sparsity == schedule.target_sparsity == 0.5


def test_iterative_rounds():
    schedule = Iterative(0.85, steps_per_round=50, begin_step=20)
    steps = np.arange(1000)
    due, _ = schedule(steps)
    kept = [schedule.keep_ratio(int(step)) for step in steps[due]]
    assert kept == pytest.approx([max(0.8**k, 0.15) for k in range(1, 10)], abs=1e-12)
    assert schedule.end_step == steps[due][-1] == 20 + 8 * 50
    assert Iterative(1 - 0.8**5, 10).end_step == 40
    assert Iterative(0.0, 10).end_step == Iterative(0.1, 10).end_step == 0
    assert Iterative(0.1, 10)(0) == (True, 0.1)


def test_frequency_as_a_fraction_of_an_epoch():
    for fraction, steps in ((0.25, 98), (1e-6, 1), (np.float64(0.01), 4)):
        assert LinearDecay(0.5, 999, frequency=fraction, steps_per_epoch=SPE).frequency == steps
    assert cyclic(frequency=0.5).frequency == 196
    for count in (100, 100.0, np.int32(100), np.ceil(99.5)):
        assert ConstantSparsity(0.5, 0, frequency=count).frequency == 100


def test_round_trips():
    for schedule in ALL:
        config = schedule.get_config()
        kind = type(schedule)
        nested = {"class_name": kind.__name__, "config": config}
        stored = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
        copies = [
            kind.from_config(config),
            kind.from_config(json.loads(json.dumps(config))),
            kind.from_config(nested),
            kind.from_config({"class_name": f"tfshed>{kind.__name__}", "config": nested}),
            PruningSchedule.from_config(nested),
            keras.saving.deserialize_keras_object(stored),
            eval(repr(schedule)),
        ]
        for copy in copies:
            assert type(copy) is kind and copy == schedule and hash(copy) == hash(schedule)
            assert copy(57) == schedule(57)
        assert schedule != OneShot(0.123) and schedule != 5
        assert len({schedule, copies[0], OneShot(0.123)}) == 2


def test_attributes():
    for schedule in ALL:
        for name in ("initial_sparsity", "final_sparsity"):
            assert isinstance(getattr(schedule, name), float)
        for name in ("begin_step", "end_step", "frequency"):
            assert isinstance(getattr(schedule, name), int)
        tfmots = isinstance(schedule, (ConstantSparsity, PolynomialDecay))
        assert schedule.default_scope == ("layer" if tfmots else "global")


def test_a_fraction_and_numpy_arguments_survive_the_round_trip():
    schedule = LinearDecay(np.float32(0.5), np.ceil(937.2), np.int64(2), 0, 0.1, steps_per_epoch=50)
    assert json.loads(json.dumps(schedule.get_config())) == schedule.get_config()
    assert (
        LinearDecay.from_config(schedule.get_config())
        == schedule
        == LinearDecay(0.5, 938, 2, 0.0, 5)
    )


def test_from_config_refuses_another_class():
    config = {"class_name": "OneShot", "config": {"final_sparsity": 0.5, "step": 1}}
    with pytest.raises(ValueError, match="expected class_name to be 'LinearDecay', received 'OneS"):
        LinearDecay.from_config(config)
    with pytest.raises(ValueError, match="expected class_name to be a schedule of tfshed, receive"):
        PruningSchedule.from_config({**config, "class_name": "Nope"})


NAN = float("nan")
CYCLE = {"final_sparsity": 0.8, "time_constant": 9, "end_step": 99, "steps_per_epoch": 10}
ERRORS = [
    (lambda: OneShot(1.0), r"final_sparsity to be in \[0, 1\), received 1.0"),
    (lambda: OneShot(-0.1), r"final_sparsity to be in \[0, 1\), received -0.1"),
    (lambda: OneShot(NAN), "final_sparsity to be a finite number, received nan"),
    (lambda: OneShot("x"), "final_sparsity to be a finite number, received 'x'"),
    (lambda: OneShot(True), "final_sparsity to be a finite number, received True"),
    (lambda: OneShot(0.5, -1), "step to be an integer >= 0, received -1"),
    (lambda: OneShot(0.5, 1.5), "step to be an integer >= 0, received 1.5"),
    (lambda: ConstantSparsity(1, 0), r"target_sparsity to be in \[0, 1\), received 1"),
    (lambda: ConstantSparsity(0.5, -1), "begin_step to be an integer >= 0, received -1"),
    (lambda: ConstantSparsity(0.5, True), "begin_step to be a finite number, received True"),
    (lambda: ConstantSparsity(0.5, 0, -2), "end_step to be an integer >= 0, received -2"),
    (lambda: ConstantSparsity(0.5, 5, 4), "end_step >= begin_step=5, received 4"),
    (lambda: ConstantSparsity(0.5, 0, -1, 0), "frequency to be an integer >= 1, received 0"),
    (lambda: ConstantSparsity(0.5, 0, -1, True), "frequency to be a finite number, received True"),
    (lambda: ConstantSparsity(0.5, 0, -1, 2.5), "frequency to be an integer >= 1, received 2.5"),
    (lambda: ConstantSparsity(0.5, 0, -1, -0.5), r"a float in \(0, 1\) .*, received -0.5"),
    (lambda: ConstantSparsity(0.5, 0, -1, 0.5), "expected steps_per_epoch .* frequency=0.5"),
    (lambda: LinearDecay(0.5, 9, frequency=1.0), "received 1.0, which could be either"),
    (
        lambda: LinearDecay(0.5, 9, frequency=1.0, steps_per_epoch=5),
        "write 1 for every step, or steps_per_epoch for every epoch",
    ),
    (
        lambda: LinearDecay(0.5, 9, frequency=0.5, steps_per_epoch=0),
        "steps_per_epoch to be an integer >= 1, received 0",
    ),
    (lambda: PolynomialDecay(0, 1, 0, 9), r"final_sparsity to be in \[0, 1\), received 1"),
    (lambda: PolynomialDecay(1, 0.5, 0, 9), r"initial_sparsity to be in \[0, 1\), received 1"),
    (lambda: PolynomialDecay(0.8, 0.5, 0, 9), "initial_sparsity <= final_sparsity=0.5.* 0.8"),
    (lambda: PolynomialDecay(0, 0.5, 0, -1), "end_step to be an integer >= 0, received -1"),
    (lambda: PolynomialDecay(0, 0.5, 7, 6), "end_step >= begin_step=7, received 6"),
    (lambda: PolynomialDecay(0, 0.5, 0, NAN), "end_step to be a finite number, received nan"),
    (lambda: PolynomialDecay(0, 0.5, 0, 9, 0), "power to be a positive number, received 0"),
    (lambda: ExponentialDecay(0.5, 0, 9), "time_constant to be a positive number, received 0"),
    (lambda: ExponentialDecay(0.5, NAN, 9), "time_constant to be a positive number, received nan"),
    (lambda: ExponentialDecay(0.5, 1, 9, 9), "end_step > begin_step=9, received 9"),
    (
        lambda: CyclicExponentialDecay(**CYCLE, mode="stop"),
        'mode to be "freeze", "hold" or "stretch", received \'stop\'',
    ),
    (
        lambda: CyclicExponentialDecay(**CYCLE, gate_epochs=8),
        "gate_epochs <= cycle_epochs=7, received 8",
    ),
    (
        lambda: CyclicExponentialDecay(**CYCLE, cycle_epochs=0),
        "cycle_epochs to be a positive number, received 0",
    ),
    (
        lambda: CyclicExponentialDecay(**{**CYCLE, "steps_per_epoch": None}),
        "steps_per_epoch to be a finite number, received None",
    ),
    (lambda: Iterative(0.5, 0), "steps_per_round to be an integer >= 1, received 0"),
    (lambda: Iterative(0.5, 9, 0, 1.0), r"keep_per_round to be in \(0, 1\), received 1.0"),
    (lambda: Iterative(0.5, 9, 0, 0), "keep_per_round to be a positive number, received 0"),
]


def test_errors_name_what_was_expected_and_received():
    for make, message in ERRORS:
        with pytest.raises(ValueError, match=message) as caught:
            make()
        assert str(caught.value).startswith("expected ")


@keras.saving.register_keras_serializable(package="test_schedules")
class Steps(PruningSchedule):
    """Written as for tfmot: only its import was changed."""

    def __init__(self, levels, begin_step, end_step, frequency):
        self.levels = levels
        self.begin_step = begin_step
        self.end_step = end_step
        self.frequency = frequency
        self._validate_step(begin_step, end_step, frequency, True)
        for level in levels:
            self._validate_sparsity(level, "level")

    def __call__(self, step):
        due = self._should_prune_in_step(step, self.begin_step, self.end_step, self.frequency)
        return due, self.levels[-1]

    def get_config(self):
        names = ("levels", "begin_step", "end_step", "frequency")
        config = {name: getattr(self, name) for name in names}
        return {"class_name": type(self).__name__, "config": config}


@quick
def test_a_users_own_schedule(call):
    schedule = Steps([0.1, 0.6], 10, 45, 10)
    due, sparsity = call(schedule, np.arange(60))
    assert np.flatnonzero(np.asarray(due)).tolist() == [10, 20, 30, 40, 45]
    assert np.asarray(sparsity).tolist() == pytest.approx(0.6)


def test_a_users_own_schedule_in_plain_python():
    schedule = Steps([0.1, 0.6], 10, -1, 10)
    assert schedule(20) == (True, 0.6) and schedule(10**7)[0] is True and schedule(9)[0] is False
    assert schedule.keep_ratio(20) == 0.4 and schedule.default_scope == "global"
    assert Steps.from_config(schedule.get_config()) == schedule != Steps([0.6], 10, -1, 10)
    assert repr(schedule) == "Steps(levels=[0.1, 0.6], begin_step=10, end_step=-1, frequency=10)"
    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    assert keras.saving.deserialize_keras_object(stored) == schedule
    with pytest.raises(ValueError, match=r"expected level to be in \[0, 1\), received 1.5"):
        Steps([1.5], 0, 9, 1)
    with pytest.raises(ValueError, match="expected end_step >= begin_step=9, received 8"):
        Steps([0.5], 9, 8, 1)
    with pytest.raises(TypeError, match="abstract"):
        PruningSchedule()


def run(code, **environment):
    """Runs `code` in a fresh interpreter, returns the last line it prints as JSON."""
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(ROOT),
        **environment,
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


TFMOT = """
import json, numpy as np
import tensorflow_model_optimization as tfmot
kinds = tfmot.sparsity.keras
answers = []
for name, arguments, steps in json.loads({cases!r}):
    due, sparsity = getattr(kinds, name)(*arguments)(np.array(steps))
    sparsity = np.broadcast_to(sparsity.numpy(), len(steps))
    answers.append([due.numpy().tolist(), sparsity.tolist()])
print(json.dumps(answers))
"""


def test_tfmots_classes_agree_with_tfmot_where_it_is_right():
    pytest.importorskip("tensorflow")
    cases = [
        ["PolynomialDecay", arguments, list(range(0, 360, 5))]
        for arguments in ([0.0, 0.8, 0, 300], [0.5, 0.9, 20, 220, 3, 10], [0.1, 0.7, 5, 255, 1, 50])
    ]
    # Out of [begin, end] tfmot reports the target although nothing is to be pruned yet.
    cases.append(["ConstantSparsity", [0.5, 10, 200, 10], list(range(10, 200, 5))])
    cases.append(["ConstantSparsity", [0.5, 10], list(range(10, 500, 5))])
    # The update at the end, due here, is the one tfmot misses: 250 is no multiple of 100.
    cases.append(["PolynomialDecay", [0.0, 0.8, 0, 250], list(range(250))])
    kinds = {"PolynomialDecay": PolynomialDecay, "ConstantSparsity": ConstantSparsity}
    answers = run(TFMOT.format(cases=json.dumps(cases)))
    for (name, arguments, steps), (due, sparsity) in zip(cases, answers, strict=True):
        ours = kinds[name](*arguments)(np.array(steps))
        assert ours[0].tolist() == due
        assert ours[1] == pytest.approx(np.array(sparsity), abs=1e-6)


OTHER_BACKEND = """
import json, sys
from tfshed.core.schedules import ExponentialDecay
schedule = ExponentialDecay(0.85, 300, 3500)
values = [schedule.keep_ratio(100)]
own = "tensorflow" in sys.modules
import keras
values.append(float(schedule.keep_ratio(keras.Variable(100, dtype="int32"))))
import tensorflow as tf
values.append(float(tf.function(schedule.keep_ratio)(tf.constant(100))))
print(json.dumps([values, own]))
"""


def test_a_tensorflow_step_under_another_backend():
    pytest.importorskip("jax")
    pytest.importorskip("tensorflow")
    values, imported = run(OTHER_BACKEND, KERAS_BACKEND="jax")
    assert values == pytest.approx([0.15 + 0.85 * np.exp(-1 / 3)] * 3, abs=1e-6)
    assert not imported
