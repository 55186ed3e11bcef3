"""Any recipe is refused with a message, or makes finite and sensible objects (property test)."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from tfshed.core.config import PruningConfig
from tfshed.experiments import check, from_recipe, recipe, scaled
from tfshed.learning_rates import LEARNING_RATES

NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 7, 35, 0.1, 0.5, 0.85, 0.999, 1e-3, 5.0, 11.0, -1, -0.01, 1e-40, 1e30, 1e38, 1e400]
    + [-1e400, float("nan"), 10**9, 2**31, 2**63, 10**40, True, -0.0]
)
WORDS = st.sampled_from(
    ["sgd", "adam", "adamw", "rmsprop", "cosine", "cyclic", "multistep", "constant", "linear", ""]
    + ["exponential", "polynomial", "one_shot", "iterative", "freeze", "hold", "stretch", "layer"]
    + ["global", "random", "magnitude", "4x1", "0x1", "1x0", "2:4", "4:2", "0:0", "balanced4", "("]
    + ["balanced0", "filter", "kernel", "all", "kernels", "go_on", "rollback", "9999999999x1"]
)
TUPLES = st.lists(st.one_of(NUMBERS, WORDS), max_size=4).map(tuple)
PAIRS = st.lists(st.tuples(WORDS, NUMBERS), max_size=2).map(tuple)
BOOLS = st.sampled_from([True, False, None])
STEPS = st.sampled_from([1, 2, 15, 391, 10009, 2**31])
# Names of networks and data are looked up where these are made.
LEFT = ("model", "data.name", "data.eval_split", "initial_weights", "checkpoint.best")


def fields(config=None, path=""):
    for name, value in (recipe() if config is None else config).items():
        if isinstance(value, ConfigDict):
            yield from fields(value, f"{path}{name}.")
        elif not f"{path}{name}".startswith(LEFT):
            yield f"{path}{name}"


CHANGES = st.dictionaries(
    st.sampled_from(sorted(fields())),
    st.one_of(NUMBERS, NUMBERS, WORDS, TUPLES, PAIRS, BOOLS),
    min_size=1,
    max_size=3,
)


def build(config, steps_per_epoch):
    """What a run makes of a recipe, with a look at each of it."""
    check(config)
    config = scaled(config)
    check(config)
    for phase, training in ((config.train, None), (config.prune, config.train)):
        last = from_recipe.in_steps(phase.epochs, steps_per_epoch)
        optimizer = from_recipe.optimizer(phase, steps_per_epoch, training=training)
        rate = from_recipe.learning_rate(phase, steps_per_epoch, training=training)
        for step in (0, 1, last // 2, last - 1):
            value = float(rate(step))
            assert math.isfinite(value) and value >= 0, (step, value)
        assert float(rate(last // 3)) > 0
        assert isinstance(optimizer, keras.optimizers.Optimizer)
        assert 0 <= phase.weight_decay < 1e31 and 0 <= phase.label_smoothing < 1
    prune = config.prune
    schedule = from_recipe.schedule(prune, steps_per_epoch)
    steps = np.unique(np.linspace(0, min(last, 2**31 - 1), 50).astype(np.int64))
    due, sparsity = schedule(steps)
    assert np.isfinite(sparsity).all() and (sparsity >= 0).all() and (sparsity < 1).all()
    assert (np.diff(sparsity) >= -1e-9).all() or prune.schedule == "iterative"
    PruningConfig(
        schedule,
        scope=prune.scope,
        criterion=prune.criterion,
        granularity=prune.granularity,
        threshold=prune.threshold,
        grow_threshold=prune.grow_threshold,
        shed_every=prune.shed_every,
        monotone=prune.monotone,
        collapse_guard=prune.collapse_guard,
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES, STEPS)
def test_a_recipe_is_refused_with_a_message_or_makes_sense(changes, steps_per_epoch):
    config = recipe()
    try:
        config.update_from_flattened_dict(changes)
        build(config, steps_per_epoch)
    except (ValueError, TypeError) as error:
        # The messages of ml_collections name the field's type, ours what was expected.
        assert len(str(error)) > 20, repr(error)


@pytest.mark.parametrize("name", sorted(LEARNING_RATES))
def test_an_untouched_recipe_makes_sense(name):
    config = recipe()
    of_training = name in ("fine_tune", "rewind", "as_training")
    for phase in (config.train, config.prune)[of_training:]:
        phase.learning_rate.schedule = name
    config.train.learning_rate.cycle = 140.0
    config.prune.learning_rate.cycle = 24.0
    build(config, 391)
