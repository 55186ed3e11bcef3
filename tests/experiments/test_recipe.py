"""tfshed.experiments.recipe: fields, values, scale; and every file of configs/."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tfshed.experiments import build as objects
from tfshed.experiments import check, recipe, scaled

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
        rate = objects.learning_rate(phase, 7)
        assert float(rate(0)) > 0
    objects.schedule(small.prune, 7)
    objects.granularity(small.prune.granularity)


def test_the_papers_recipe_has_the_papers_numbers():
    module = load(next(p for p in CONFIGS if p.stem == "imagenet_resnet50_gmp"))
    config = module.get_config("exponential_tau3")
    steps = 10009
    found = objects.schedule(config.prune, steps)
    assert [round(found.keep_ratio(steps * e), 3) for e in (1, 2, 3, 5, 10)] == [
        0.759,
        0.586,
        0.463,
        0.311,
        0.18,
    ]
    linear = objects.schedule(module.get_config("linear").prune, steps)
    assert [round(linear.keep_ratio(steps * e), 3) for e in (5, 20)] == [0.879, 0.514]
    rate = objects.learning_rate(config.prune, steps)
    epochs = (0, 10, 11, 22, 23, 34)
    assert [round(float(rate(steps * e)), 6) for e in epochs] == [
        0.01,
        0.01,
        0.001,
        0.001,
        0.0001,
        0.0001,
    ]
    cyclic = objects.learning_rate(module.get_config("cyclic").prune, steps)
    assert [round(float(cyclic(steps * e)), 6) for e in (2, 3, 5, 7)] == [0.01, 0.001, 1e-4, 0.01]


def test_renda_retraining_within_the_last_stage_is_fine_tuning():
    """Of 182 epochs the last 46 have one rate, so rewinding 30 of them is no different."""
    module = load(next(p for p in CONFIGS if p.stem == "cifar10_resnet20"))
    rates = [module.get_config(arm).prune.learning_rate for arm in ("lrw", "ft")]
    assert [r.rates for r in rates] == [(0.001,), (0.001,)]
    from tfshed.experiments import protocols

    config = module.get_config()
    protocols.one_shot_retraining(config, "lrw", epochs=90, keep=0.2)
    assert config.prune.learning_rate.rates == (0.01, 0.001)
    assert config.prune.learning_rate.milestones == (44.0,)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("data.augmentation", "crop", "config.data.augmentation: expected one of none, flip"),
        ("data.fraction", 0.0, r"config.data.fraction: expected a number in \(0, 1\]"),
        ("scale", 2.0, "config.scale: expected"),
        ("train.epochs", 0, "config.train.epochs: expected a whole number >= 1, received 0"),
        ("prune.sparsity", 1.0, r"config.prune.sparsity: expected a number in \[0, 1\)"),
        ("prune.schedule", "cyclc", "Did you mean 'cyclic'"),
        ("prune.optimizer", "sdg", "Did you mean 'sgd'"),
        ("prune.learning_rate.milestones", (1.0,), "one rate more than milestones"),
        ("train.label_smoothing", 1.0, "config.train.label_smoothing"),
        ("checkpoint.keep", 0, "config.checkpoint.keep"),
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
    big, little = objects.schedule(config.prune, 1000), objects.schedule(small.prune, 200)
    for share in (0.1, 0.35, 0.62, 1.0):
        assert little.keep_ratio(round(1400 * share)) == pytest.approx(
            big.keep_ratio(round(35000 * share)), abs=1e-2
        )
    a = objects.learning_rate(config.prune, 1000)
    b = objects.learning_rate(small.prune, 200)
    for share in (0.1, 0.4, 0.8):
        assert float(a(round(35000 * share))) == float(b(round(1400 * share)))


def test_the_rate_follows_the_batch_only_where_the_recipe_says_so():
    config = recipe()
    config.train.batch_size = 512
    assert float(objects.learning_rate(config.train, 10)(0)) == pytest.approx(0.1)
    config.train.learning_rate.base_batch_size = 128
    assert float(objects.learning_rate(config.train, 10)(0)) == pytest.approx(0.4)
