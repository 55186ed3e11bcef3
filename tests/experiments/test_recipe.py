"""tfshed.experiments.recipe: fields, values, scale; and every file of configs/."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

import tfshed
from tfshed.experiments import Run, Settings, check, from_recipe, recipe, scaled

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arms():
    for path in CONFIGS:
        module = load(path)
        for arm in getattr(module, "ARMS", [None]):
            yield pytest.param(module, arm, id=f"{path.stem}{f':{arm}' if arm else ''}")


@pytest.mark.parametrize(("module", "arm"), list(arms()))
def test_every_recipe_is_whole_and_says_what_it_is(module, arm):
    config = module.get_config() if arm is None else module.get_config(arm)
    check(config)
    for word in ("Source:", "--workdir=", "Time", "Expected"):
        assert word in module.__doc__
    small = scaled(config)
    for phase in (small.train, small.prune):
        rate = from_recipe.learning_rate(phase, 7)
        assert float(rate(0)) > 0
    from_recipe.schedule(small.prune, 7)


def test_the_papers_recipe_has_the_papers_numbers():
    module = load(next(p for p in CONFIGS if p.stem == "imagenet_resnet50_gmp"))
    config = module.get_config("exponential_tau3")
    steps = 10009
    found = from_recipe.schedule(config.prune, steps)
    assert [round(found.keep_ratio(steps * e), 3) for e in (1, 2, 3, 5, 10)] == [
        0.759,
        0.586,
        0.463,
        0.311,
        0.18,
    ]
    linear = from_recipe.schedule(module.get_config("linear").prune, steps)
    assert [round(linear.keep_ratio(steps * e), 3) for e in (5, 20)] == [0.879, 0.514]
    rate = from_recipe.learning_rate(config.prune, steps)
    epochs = (0, 10, 11, 22, 23, 34)
    assert [round(float(rate(steps * e)), 6) for e in epochs] == [
        0.01,
        0.01,
        0.001,
        0.001,
        0.0001,
        0.0001,
    ]
    cyclic = from_recipe.learning_rate(module.get_config("cyclic").prune, steps)
    assert [round(float(cyclic(steps * e)), 6) for e in (2, 3, 5, 7)] == [0.01, 0.001, 1e-4, 0.01]


def cifar10(arm):
    return load(next(p for p in CONFIGS if p.stem == "cifar10_resnet20")).get_config(arm)


@pytest.mark.parametrize("epochs", [1, 30, 46])
def test_fine_tuning_is_rewinding_within_the_last_stage(epochs):
    """Of 182 epochs the last 46 have one rate, so rewinding up to 46 of them is no different."""
    arms = [cifar10(f"{way}{epochs}").to_dict() for way in ("ft", "lrw")]
    assert arms[0] == arms[1] and arms[0]["prune"]["epochs"] == epochs


def test_rewinding_further_is_not_fine_tuning():
    ft, lrw = (cifar10(f"{way}90").prune.learning_rate for way in ("ft", "lrw"))
    assert (ft.rates, ft.milestones) == ((0.001,), ())
    assert (lrw.rates, lrw.milestones) == ((0.01, 0.001), (44.0,))
    lrw = cifar10("lrw182").prune.learning_rate
    assert (lrw.rates, lrw.milestones) == ((0.1, 0.01, 0.001), (91.0, 136.0))
    with pytest.raises(ValueError, match="epochs: expected 1 to 182, those of training, received"):
        cifar10("ft183")
    for arm in ("ft", "lrw0", "lwr30"):
        with pytest.raises(ValueError, match=r"arm: expected one of lrw90, .*Did you mean"):
            cifar10(arm)


def test_training_is_that_of_rendas_published_code():
    config = cifar10("lrw90")
    for phase in (config.train, config.prune):
        assert (phase.momentum, phase.nesterov) == (0.9, False)
        assert (phase.weight_decay, phase.decay_on) == (2e-4, "all")


def test_after_the_last_gate_of_the_cyclic_recipe_nothing_is_pruned():
    module = load(next(p for p in CONFIGS if p.stem == "imagenet_resnet50_gmp"))
    prune, steps = module.get_config("cyclic").prune, 100
    due, sparsity = from_recipe.schedule(prune, steps)(np.arange(35 * steps + 1))
    assert np.flatnonzero(due)[-1] == 30 * steps
    np.testing.assert_array_equal(sparsity[30 * steps :], 0.85)
    assert np.diff(sparsity).max() < 0.01


@pytest.mark.parametrize("name", ["imagenet_mobilenet_v3", "imagenet_efficientnet_b0"])
def test_the_papers_ratio_counts_all_convolutions(name):
    """A small net of the same layers, since these two take seconds to build."""
    prune = load(next(p for p in CONFIGS if p.stem == name)).get_config().prune
    net = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            keras.layers.DepthwiseConv2D(3),
            keras.layers.SeparableConv2D(4, 3),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    found = tfshed.summary(from_recipe.pruned(net, prune, 10, seed=0), lambda text: None)
    assert {row.pruning for row in found.rows} == {0} and len(found.rows) == 5


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("data.augmentation", "crop", "config.data.augmentation: expected one of none, flip"),
        ("data.fraction", 0.0, r"config.data.fraction: expected a number in \(0, 1\]"),
        ("scale", 2.0, "config.scale: expected"),
        (
            "train.epochs",
            0,
            "config.train.epochs: expected a whole number from 1 to 1000000, received 0",
        ),
        ("prune.sparsity", 1.0, r"config.prune.sparsity: expected a number in \[0, 1\)"),
        ("prune.schedule", "cyclc", "Did you mean 'cyclic'"),
        ("prune.optimizer", "sdg", "Did you mean 'sgd'"),
        ("prune.learning_rate.milestones", (1.0,), "one rate more than milestones"),
        ("train.label_smoothing", 1.0, "config.train.label_smoothing"),
        ("checkpoint.keep", 0, "config.checkpoint.keep"),
        ("prune.learning_rate.schedule", "cosin", "'cosine'.*received 'cosin'. Did you mean 'cos"),
        ("prune.learning_rate.rates", (-0.01, 0.1, 0.1), r"rates\[0\]: expected a number in"),
        ("prune.learning_rate.rates", (1e400, 0.1, 0.1), r"rates\[0\]: .* received inf"),
        ("prune.learning_rate.rates", (0.1, 0.1, float("nan")), r"rates\[2\]: .* received nan"),
        ("prune.learning_rate.rates", (0.1, "a", 0.1), r"rates\[1\]: .* received 'a'"),
        ("prune.learning_rate.milestones", (5.0, 5.0), r"milestones\[1\]: .*\(5, "),
        ("train.learning_rate.warmup_epochs", -1.0, "warmup_epochs: expected a number in"),
        ("train.learning_rate.base_batch_size", -1, "base_batch_size: expected a whole number"),
        ("train.learning_rate.base_batch_size", 0, "base_batch_size: expected a whole number"),
        ("train.momentum", 1.0, r"config.train.momentum: expected a number in \[0, 1\)"),
        ("train.weight_decay", float("inf"), "config.train.weight_decay"),
        ("train.decay_on", "everything", "config.train.decay_on: expected one of kernels, all"),
        ("train.epochs", 10**9, "config.train.epochs: expected a whole number from 1 to 1000000"),
        ("prune.time_constant", 0.0, "config.prune.time_constant"),
        ("prune.time_constant", float("nan"), "config.prune.time_constant"),
        ("prune.gate", 8.0, r"config.prune.gate: expected a number in \(0, 7\]"),
        ("prune.begin", 35.0, r"config.prune.begin: expected a number in \[0, 35\)"),
        ("prune.end", 36.0, r"config.prune.end: expected a number in \(0, 35\]"),
        ("prune.initial_sparsity", 0.9, r"config.prune.initial_sparsity: .*\[0, 0.85\]"),
        ("prune.criterion", "tailor", "config.prune.criterion: .*received 'tailor'. Did you mean"),
        ("prune.granularity", "4by1", "config.prune.granularity: expected"),
        ("prune.granularity", "fliter", "config.prune.granularity: .* Did you mean 'filter'"),
        ("prune.granularity", "0x1", "expected"),
        ("prune.scope", "everywhere", "config.prune.scope: expected one of global, layer"),
        ("prune.select", "(", "config.prune.select: expected a regex"),
        ("prune.sparsity_by_layer", (("logits", 1.0),), r"sparsity_by_layer\[0\]: expected a num"),
        ("prune.sparsity_by_layer", ("logits",), r"sparsity_by_layer\[0\]: expected \(regex, "),
        ("prune.frequency_epochs", 0.0, "config.prune.frequency_epochs"),
        ("prune.shed_every", 0, "config.prune.shed_every"),
        ("prune.collapse_guard", 1.0, "config.prune.collapse_guard"),
        ("non_finite.action", "ignore", "config.non_finite.action: expected one of stop"),
        ("non_finite.rate_factor", 1.0, "config.non_finite.rate_factor"),
    ],
)
def test_values_that_make_no_sense_are_named(field, value, words):
    config = recipe()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=words):
        check(config)


def test_a_recipe_of_another_shape_is_refused():
    config = recipe()
    with config.unlocked():
        config.prune.momentm = 0.0
    with pytest.raises(ValueError, match=r"config.prune.momentm.* Did you mean 'momentum'"):
        check(config)
    config = recipe()
    with config.unlocked():
        del config.train.epochs
    with pytest.raises(ValueError, match="config.train.epochs: expected this field"):
        check(config)


def test_scale_shrinks_all_times_together_and_keeps_the_shape():
    config = recipe()
    config.prune.schedule, config.scale = "cyclic", 0.2
    small = scaled(config)
    assert config.prune.epochs == 35 and small.prune.epochs == 7
    assert small.data.fraction == pytest.approx(0.2)
    assert small.prune.frequency == 20
    big, little = from_recipe.schedule(config.prune, 1000), from_recipe.schedule(small.prune, 200)
    for share in (0.1, 0.35, 0.62, 1.0):
        assert little.keep_ratio(round(1400 * share)) == pytest.approx(
            big.keep_ratio(round(35000 * share)), abs=1e-2
        )
    a = from_recipe.learning_rate(config.prune, 1000)
    b = from_recipe.learning_rate(small.prune, 200)
    for share in (0.1, 0.4, 0.8):
        assert float(a(round(35000 * share))) == float(b(round(1400 * share)))


def test_the_rate_follows_the_batch_only_where_the_recipe_says_so():
    config = recipe()
    config.train.batch_size = 512
    assert float(from_recipe.learning_rate(config.train, 10)(0)) == pytest.approx(0.1)
    config.train.learning_rate.base_batch_size = 128
    assert float(from_recipe.learning_rate(config.train, 10)(0)) == pytest.approx(0.4)


@pytest.mark.parametrize(("arm", "kept"), [("magnitude", 0.1), ("random", 0.1), ("dense", 1.0)])
def test_pruning_at_initialisation_is_done_in_the_first_step(arm, kept, tmp_path):
    module = load(next(p for p in CONFIGS if p.stem == "cifar10_vgg16_at_init"))
    config = module.get_config(arm)
    config.data.name, config.data.augmentation, config.data.fraction = "digits", "none", 0.2
    config.model.name = "lenet_300_100"
    config.prune.epochs, config.prune.batch_size = 1, 256
    config.prune.learning_rate.milestones = (1.0, 2.0)
    run = Run(Settings("prune", config, tmp_path))
    found = run.run(print_fn=lambda text: None)
    assert found["steps"] == 1
    assert 1 - found["kernel_sparsity"] == pytest.approx(kept, abs=1e-4)
