"""Any call of the public functions is refused with a message, or makes sense (property test).

Every argument has values that make sense, and a rule that says which of all values do. A call with
values that do not must be refused, by a ValueError or TypeError that says what was expected and
what was received, and a refused call leaves the model as it was.
"""

from __future__ import annotations

import functools
import math
import numbers
import warnings
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tfshed
from tfshed.criteria import Movement, Random, Taylor
from tfshed.granularity import Balanced, Block, Filter, NxM

NAN, INF, MOST = float("nan"), float("inf"), float(np.finfo("float32").max)
ODD = st.one_of(
    st.sampled_from([None, True, False, np.True_, "", "x", "1", "0.5", "auto", "layer", "4x1"]),
    st.sampled_from([0, 1, 2, 7, -1, -0.01, 0.3, 0.5, 1.0, 2.0, 1e-40, 1e39, NAN, INF, -INF, 1j]),
    st.sampled_from([2**31, 2**63, 10**40, 10**400, -(10**40), np.float32(0.25), np.int64(3)]),
    st.sampled_from([np.complex64(1), Fraction(1, 2), b"layer", object, object(), int, len]),
    st.sampled_from([[], [None], ["x"], (), (4, 1), (0, 1), {}, {"name": "x"}, {0: 1.0}, {1: 2}]),
    st.sampled_from([{"name": "taylor", "stepz": 3}, {"name": ["taylor"]}, {0.5: 1.0}, {0: "a"}]),
    st.builds(np.zeros, st.just(2)),
)


# Rules: which values make sense.


def number(value, least=-INF, below=INF):
    right = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return right and abs(value) <= MOST and least <= value < below


def fraction(value):
    return number(value, 0, 1)


def whole(least):
    return lambda value: number(value, least, 2**31) and value == int(value)


def any_whole(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def positive(value):
    return number(value) and value > 0


def not_negative(value):
    return number(value, 0)


def boolean(value):
    return isinstance(value, (bool, np.bool_))


def or_none(rule):
    return lambda value: value is None or rule(value)


def one_of(*values):
    return lambda value: isinstance(value, str) and value in values


def frequency(value):
    return whole(1)(value) and not (isinstance(value, float) and value == 1)


def text(value):
    return isinstance(value, str) and bool(value)


def kind(*kinds):
    return lambda value: isinstance(value, kinds)


def criterion(value):
    names = ("magnitude", "random", "taylor", "movement")
    return isinstance(value, (str, Random, Taylor, Movement)) and (
        not isinstance(value, str) or value in names
    )


def granularity(value):
    return value is None or isinstance(value, (Block, Filter, NxM)) or one_of("4x1", "2:4")(value)


def multipliers(value):
    return value is None or (
        isinstance(value, dict)
        and set(value) == set(range(len(value)))
        and len(value) > 0
        and all(not_negative(v) for v in value.values())
    )


def selection(value):
    # A regex that is none, or matches nothing, and callables, are looked at by their own tests.
    return value is None or isinstance(value, (str, list, tuple)) or callable(value)


SCHEDULE = tfshed.LinearDecay(0.5, end_step=6, frequency=2)
STEPS = {
    "end_step": (20, whole(0)),
    "begin_step": (2, whole(0)),
    "frequency": (2, frequency),
}
RAMP = {"final_sparsity": (0.75, fraction), "initial_sparsity": (0.25, fraction), **STEPS}
EXPONENTIAL = {**RAMP, "time_constant": (5.0, positive), "snap_final": (False, boolean)}
CONFIG = {
    "scope": ("layer", or_none(one_of("global", "layer"))),
    "criterion": ("random", criterion),
    "granularity": (None, granularity),
    "threshold": (0.0, or_none(not_negative)),
    "grow_threshold": (False, or_none(boolean)),
    "shed_every": (2, lambda v: any_whole(v) and whole(1)(v)),
    "monotone": (True, boolean),
    "weight_decay": (None, or_none(kind(tfshed.SelectiveWeightDecay))),
    "collapse_guard": (0.2, fraction),
    "hold_zeros": (True, boolean),
    "observe": (False, boolean),  # it does not go with hold_zeros
}
SELECTED = {
    "criterion": ("magnitude", criterion),
    "granularity": (None, granularity),
    "select": (None, selection),
    "seed": (3, any_whole),
}


def optimizer(**given):
    inner = given.pop("inner_optimizer")
    return tfshed.PruningOptimizer(inner, **given)


# The function, and for each argument a value and the rule. MODEL stands for the model itself.
MODEL = object()
LAYER = kind(keras.layers.Layer)
CALLS = {
    "LinearDecay": (tfshed.LinearDecay, RAMP),
    "PolynomialDecay": (tfshed.PolynomialDecay, {**RAMP, "power": (2.0, positive)}),
    "ConstantSparsity": (
        tfshed.ConstantSparsity,
        {**STEPS, "target_sparsity": (0.5, fraction), "end_step": (-1, whole(-1))},
    ),
    "OneShot": (tfshed.OneShot, {"final_sparsity": (0.5, fraction), "step": (3, whole(0))}),
    "Iterative": (
        tfshed.Iterative,
        {
            "final_sparsity": (0.5, fraction),
            "steps_per_round": (3, whole(1)),
            "begin_step": (0, whole(0)),
            "keep_per_round": (0.8, lambda v: fraction(v) and v > 0),
        },
    ),
    "ExponentialDecay": (tfshed.ExponentialDecay, EXPONENTIAL),
    "CyclicExponentialDecay": (
        tfshed.CyclicExponentialDecay,
        {
            **EXPONENTIAL,
            "steps_per_epoch": (3, whole(1)),
            "cycle_epochs": (4.0, positive),
            "gate_epochs": (2.0, positive),
            "mode": ("hold", one_of("freeze", "hold", "stretch")),
        },
    ),
    "PruningConfig": (
        tfshed.PruningConfig,
        {"schedule": (SCHEDULE, kind(tfshed.PruningSchedule)), **CONFIG},
    ),
    "SelectiveWeightDecay": (
        tfshed.SelectiveWeightDecay,
        {
            "rate": (0.1, not_negative),
            "multipliers": ({0: 1.0, 1: 2.0}, multipliers),
            "threshold": (0.1, or_none(positive)),
        },
    ),
    "Block": (
        Block,
        {
            "a": (2, lambda v: whole(1)(v) and v <= 65536),
            "b": (2, lambda v: whole(1)(v) and v <= 65536),
            "pooling": ("AVG", one_of("L2", "AVG", "MAX")),
            "pad": (True, boolean),
        },
    ),
    "Filter": (Filter, {"pooling": ("L2", one_of("L2", "AVG", "MAX"))}),
    "NxM": (NxM, {"n": (1, whole(1)), "m": (4, whole(1))}),
    "Balanced": (Balanced, {"bank": (4, whole(2))}),
    "Taylor": (Taylor, {"steps": (4, whole(1))}),
    "Random": (Random, {"seed": (4, any_whole)}),
    "criteria.get": (tfshed.criteria.get, {"criterion": ("taylor", criterion)}),
    "prune_low_magnitude": (
        tfshed.prune_low_magnitude,
        {
            "to_prune": (MODEL, LAYER),
            "pruning_schedule": (SCHEDULE, or_none(kind(tfshed.PruningSchedule))),
            **CONFIG,
            **SELECTED,
        },
    ),
    "sparsify": (
        tfshed.sparsify,
        {
            "model": (MODEL, LAYER),
            "sparsity": (0.5, fraction),
            "scope": ("layer", or_none(one_of("global", "layer"))),
            **SELECTED,
        },
    ),
    "PruningOptimizer": (
        optimizer,
        {
            "inner_optimizer": ("sgd", one_of("sgd")),
            "prune": (MODEL, or_none(LAYER)),
            "mask_gradients": (True, lambda v: isinstance(v, bool) or one_of("auto")(v)),
            "name": ("pruning", or_none(text)),
            "start": ("again", one_of("auto", "continue", "again")),
            "only_stepped": (True, boolean),
        },
    ),
    "UpdatePruningStep": (
        tfshed.UpdatePruningStep,
        {"start": ("again", one_of("auto", "continue", "again"))},
    ),
    "KeepZeros": (tfshed.KeepZeros, {"select": (None, selection)}),
    "KeepRatio": (
        tfshed.KeepRatio,
        {
            "directory": (None, or_none(text)),
            "validation_batch_size": (4, or_none(whole(1))),
            "validation_steps": (4, or_none(whole(1))),
            "plot": (False, boolean),
            "tensorboard": (False, boolean),
            "schedule": (SCHEDULE, or_none(callable)),
            "control_threshold": (0.1, not_negative),
        },
    ),
    "MaskSnapshots": (
        tfshed.MaskSnapshots,
        {
            "directory": (None, or_none(text)),
            "every_epochs": (2, whole(0)),
            "every_updates": (1, whole(0)),
            "weights": (True, boolean),
        },
    ),
}


@functools.cache
def net_and_weights():
    layers = [keras.Input((8,)), keras.layers.Dense(8), keras.layers.Dense(4)]
    net = keras.Sequential(layers, name="net")
    return net, net.get_weights()


@pytest.mark.parametrize("name", CALLS)
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_call_is_refused_with_a_message_or_makes_sense(name, data):
    function, arguments = CALLS[name]
    net, weights = net_and_weights()
    net.set_weights(weights)
    odd = data.draw(st.dictionaries(st.sampled_from(sorted(arguments)), ODD, max_size=2))
    values = {argument: value for argument, (value, _) in arguments.items()} | odd
    values = {argument: net if v is MODEL else v for argument, v in values.items()}
    bad = {argument: v for argument, v in odd.items() if not arguments[argument][1](v)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = function(**values)
    except (ValueError, TypeError) as error:
        text = str(error)
        assert "expected" in text and "received" in text, repr(error)
        assert odd, f"refused without a reason: {text}"
    else:
        assert not bad, f"taken: {bad}"
        if name == "sparsify":
            return
        for value in getattr(made, "get_config", dict)().values():
            assert not isinstance(value, float) or math.isfinite(value)
    for before, after in zip(weights, net.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
