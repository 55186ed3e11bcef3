"""tfshed.experiments.from_recipe: what the fields of a recipe become."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tfshed import learning_rates
from tfshed.experiments import check, from_recipe, recipe
from tfshed.experiments.smoothed_crossentropy import SmoothedCrossentropy

pytestmark = pytest.mark.backend


def test_smoothed_crossentropy_is_that_of_one_hot_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 5)).astype("float32")
    labels = rng.integers(0, 5, 6)
    wanted = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    found = SmoothedCrossentropy(0.1)
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
    found = from_recipe.optimizer(phase, 10).get_config()
    assert found["beta_1" if "adam" in name else "momentum"] == 0.7
    assert found["global_clipnorm"] == 2.0


def test_the_cosine_ends_where_the_recipe_says():
    phase = recipe().train
    phase.epochs, phase.learning_rate.schedule = 10, "cosine"
    rate = from_recipe.learning_rate(phase, 10)
    assert [round(float(rate(s)), 4) for s in (0, 50, 100)] == [0.1, 0.05, 0]
    phase.learning_rate.final = 0.02
    rate = from_recipe.learning_rate(phase, 10)
    assert [round(float(rate(s)), 4) for s in (0, 50, 100)] == [0.1, 0.06, 0.02]
    # It is scaled with the batch like all rates.
    phase.batch_size, phase.learning_rate.base_batch_size = 256, 128
    assert float(from_recipe.learning_rate(phase, 10)(100)) == pytest.approx(0.04)


@pytest.mark.parametrize("name", sorted(learning_rates.LEARNING_RATES))
def test_every_rate_warms_up(name):
    """The cyclic rate once ignored its warm-up without a word."""
    phase = recipe().train
    given = phase.learning_rate
    phase.epochs, given.schedule = 10, name
    given.rates, given.milestones, given.cycle = (0.1, 0.01), (3.0,), 5.0
    training = recipe().train
    plain = from_recipe.learning_rate(phase, 10, training=training)
    given.warmup_epochs = 2.0
    rate = from_recipe.learning_rate(phase, 10, training=training)
    for step in (0, 9, 18, 19, 20, 35, 60, 99):
        wanted = float(plain(step)) * min(1, (step + 1) / 20)
        assert float(rate(step)) == pytest.approx(wanted, rel=1e-6), step


def test_a_learning_rate_is_added_in_one_place():
    @learning_rates.register("sawtooth")
    def sawtooth(given):
        return keras.optimizers.schedules.ExponentialDecay(
            given.values[0], given.steps_per_epoch, **given.options
        )

    config = recipe()
    rate = config.train.learning_rate
    rate.schedule, rate.rates, rate.milestones = "sawtooth", (0.1,), ()
    rate.options = {"decay_rate": 0.5}
    check(config)
    assert float(from_recipe.learning_rate(config.train, 10)(10)) == pytest.approx(0.05)
    rate.schedule = "sawtoth"
    with pytest.raises(ValueError, match=r"config.train.learning_rate.schedule.*mean 'sawtooth'"):
        check(config)


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
    found = from_recipe.schedule(prune, 10)
    assert type(found) is kind
    assert found.keep_ratio(140) == pytest.approx(0.2, abs=1e-6)


def test_pruning_as_the_recipe_says():
    prune = recipe().prune
    prune.granularity, prune.selective_decay, prune.select = "4x1", 1e-4, "hidden"
    net = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(4, name="hidden"), keras.layers.Dense(2)]
    )
    config = from_recipe.pruned(net, prune, 10, seed=3).layers[0].config
    assert config.granularity == tfshed.Block(4, 1)
    assert config.weight_decay.rate == 1e-4 and config.scope == "global"


def test_the_fields_of_pruning_reach_the_declaration():
    prune = recipe().prune
    prune.update({"collapse_guard": 0.3, "shed_every": 5, "frequency_epochs": 0.25})
    prune.update({"granularity": "4x1", "selective_decay": 1e-4, "selective_decay_threshold": 6e-3})
    net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    config = from_recipe.pruned(net, prune, 40, seed=0).layers[0].config
    assert (config.collapse_guard, config.shed_every) == (0.3, 5)
    assert config.weight_decay.threshold == 6e-3
    assert config.schedule.frequency == 10


def test_layers_have_the_sparsity_that_their_rule_says():
    prune = recipe().prune
    prune.schedule, prune.sparsity, prune.frequency = "one_shot", 0.75, 1
    prune.sparsity_by_layer = (("first", 0.5), ("last", 0.0), ("first|middle", 0.25))
    layers = [keras.layers.Dense(16, name=name) for name in ("first", "middle", "other", "last")]
    model = from_recipe.pruned(keras.Sequential([keras.Input((16,)), *layers]), prune, 4, seed=0)
    model.compile("sgd", "mse")
    x = np.zeros((4, 16), "float32")
    model.fit(x, x, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    found = {row.path.split("/")[-2]: row for row in tfshed.summary(model, str).rows}
    sparsity = {name: round(row.sparsity, 2) for name, row in found.items()}
    assert sparsity == {"first": 0.5, "middle": 0.25, "other": 0.75, "last": 0.0}
    prune.sparsity_by_layer = (("fist", 0.5),)
    with pytest.raises(ValueError, match="received 'fist', which matches none"):
        net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        from_recipe.pruned(net, prune, 4, seed=0)


def test_xla_is_left_out_where_it_loses():
    phase, backend = recipe().train, keras.backend.backend()
    dense = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    conv = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
    assert from_recipe.jit_compile(phase, dense, 1) == "auto"
    assert from_recipe.jit_compile(phase, dense, 2) == (
        False if backend == "tensorflow" else "auto"
    )
    if backend != "tensorflow":
        assert from_recipe.jit_compile(phase, conv, 1) == "auto"
    phase.jit_compile = "true"
    assert from_recipe.jit_compile(phase, conv, 2) is True
