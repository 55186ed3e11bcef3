"""tfshed.experiments.build: what the fields of a recipe become."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tfshed.experiments import build as objects
from tfshed.experiments import recipe

pytestmark = pytest.mark.backend


def test_smoothed_crossentropy_is_that_of_one_hot_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 5)).astype("float32")
    labels = rng.integers(0, 5, 6)
    wanted = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    found = objects.SmoothedCrossentropy(0.1)
    again = keras.losses.deserialize(keras.losses.serialize(found))
    for given in (labels, labels[:, None]):
        for loss in (found, again):
            assert float(loss(given, logits)) == pytest.approx(
                float(wanted(np.eye(5, dtype="float32")[labels], logits)), rel=1e-6
            )


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
def test_optimizers_have_the_momentum_of_the_recipe(name):
    phase = recipe().train
    phase.optimizer, phase.momentum, phase.clip_norm = name, 0.7, 2.0
    found = objects.optimizer(phase, 10).get_config()
    assert found["beta_1" if "adam" in name else "momentum"] == 0.7
    assert found["global_clipnorm"] == 2.0


def test_the_cosine_warms_up_and_ends_at_zero():
    phase = recipe().train
    phase.epochs, phase.learning_rate.schedule = 10, "cosine"
    phase.learning_rate.warmup_epochs = 2.0
    rate = objects.learning_rate(phase, 10)
    assert [round(float(rate(s)), 4) for s in (0, 10, 20, 60, 100)] == [0, 0.05, 0.1, 0.05, 0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("linear", tfshed.LinearDecay),
        ("exponential", tfshed.ExponentialDecay),
        ("cyclic", tfshed.CyclicExponentialDecay),
        ("polynomial", tfshed.PolynomialDecay),
        ("constant", tfshed.ConstantSparsity),
        ("one_shot", tfshed.OneShot),
        ("iterative", tfshed.Iterative),
    ],
)
def test_every_schedule_ends_where_the_recipe_says(name, kind):
    prune = recipe().prune
    prune.schedule, prune.sparsity, prune.epochs = name, 0.8, 14
    found = objects.schedule(prune, 10)
    assert type(found) is kind
    assert found.keep_ratio(140) == pytest.approx(0.2, abs=1e-6)


def test_pruning_as_the_recipe_says():
    prune = recipe().prune
    prune.granularity, prune.selective_decay, prune.select = "4x1", 1e-4, "hidden"
    net = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(4, name="hidden"), keras.layers.Dense(2)]
    )
    config = objects.pruned(net, prune, 10, seed=3).layers[0].config
    assert config.granularity == tfshed.Block(4, 1)
    assert config.weight_decay.rate == 1e-4 and config.scope == "global"


def test_xla_is_left_out_where_it_loses():
    phase, backend = recipe().train, keras.backend.backend()
    dense = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    conv = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
    assert objects.jit_compile(phase, dense, 1) == "auto"
    assert objects.jit_compile(phase, dense, 2) == (False if backend == "tensorflow" else "auto")
    if backend != "tensorflow":
        assert objects.jit_compile(phase, conv, 1) == "auto"
    phase.jit_compile = "true"
    assert objects.jit_compile(phase, conv, 2) is True
