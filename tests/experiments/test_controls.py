"""Controls of recipes: what each of them changes, and that nothing else is changed."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.nets import array, normal
from tfshed import analysis
from tfshed.experiments import Run, Settings, check, recipe
from tfshed.experiments.controls import CONTROLS, DEFAULT, controlled, with_controls
from tfshed.experiments.grids import Grid
from tfshed.experiments.match_scale import match_scale


def changed(before, after):
    """The fields of the phase `prune` that differ."""
    a, b = before.prune.to_dict(), after.prune.to_dict()
    rate_a, rate_b = a.pop("learning_rate"), b.pop("learning_rate")
    fields = {name: b[name] for name in b if a[name] != b[name]}
    return fields | {name: rate_b[name] for name in rate_b if rate_a[name] != rate_b[name]}


EXPECTED = {
    "none": {"schedule": "one_shot", "sparsity": 0.0, "threshold": 0.0, "control": ""},
    "shadow": {"observe": True, "control": ""},
    "fixed_threshold": {"grow_threshold": False, "control": ""},
    "momentum_0": {"momentum": 0.0, "control": ""},
    "matched_rate": {"momentum": 0.0, "rates": (0.1, 0.01), "final": 0.05, "control": ""},
    "matched_scale": {"match_scale": True, "control": ""},
}


def test_every_control_is_tested_and_says_what_it_is():
    assert list(CONTROLS) == list(EXPECTED) and DEFAULT in CONTROLS
    assert all(CONTROLS.get(name).__doc__ for name in CONTROLS)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_control_changes_these_fields_and_no_others(name):
    config = recipe()
    config.prune.momentum, config.prune.learning_rate.rates = 0.75, (0.025, 0.0025)
    config.prune.learning_rate.milestones, config.prune.learning_rate.final = (5.0,), 0.0125
    config.prune.control = name
    check(config)
    after = controlled(config)
    check(after)
    assert changed(config, after) == EXPECTED[name]
    assert config.prune.control == name  # the recipe itself is as it was


def test_what_cannot_be_is_an_error():
    config = recipe()
    config.prune.control = "shadows"
    with pytest.raises(ValueError, match=r"config.prune.control: .*Did you mean 'shadow'"):
        check(config)
    config.prune.control, config.prune.learning_rate.rates = "matched_rate", ()
    with pytest.raises(ValueError, match="expected a phase with learning rates"):
        check(config)
    config = recipe()
    config.model.name, config.initial_weights, config.data.fraction = "lenet_300_100", "fresh", 0.3
    config.prune.control = "matched_scale"
    with pytest.raises(ValueError, match="config.prune.match_scale: expected a net with kernels"):
        Run(Settings("prune", config, "never_made"))
    config = recipe()
    config.prune.observe, config.prune.selective_decay = True, 1e-4
    with pytest.raises(ValueError, match="config.prune.observe: expected False with"):
        check(config)
    with pytest.raises(ValueError, match="control: expected one of"):
        with_controls({"a": {}}, ("shadoww",))


def test_every_arm_of_a_grid_of_pruning_has_a_shadow():
    columns = {"0.9": {"prune.momentum": 0.9}, "free": {"prune.control": "none"}}
    rows = {"linear": {"prune.schedule": "linear"}}
    grid = Grid(recipe(), rows, columns, phase="prune")
    assert list(grid.all_columns()) == ["0.9", "0.9, shadow", "free"]
    assert [controlled(cell.config).prune.observe for cell in grid.cells()] == [False, True, False]
    assert list(Grid(recipe(), rows, columns, phase="prune", controls=False).all_columns()) == [
        "0.9",
        "free",
    ]


@pytest.mark.backend
def test_a_shadow_run_ends_with_the_weights_of_a_run_without_pruning(tmp_path):
    config = recipe()
    config.model.name, config.data.fraction, config.initial_weights = "lenet_300_100", 0.3, "fresh"
    config.prune.epochs, config.prune.batch_size, config.prune.frequency = 1, 96, 1
    config.prune.learning_rate.rates, config.prune.learning_rate.milestones = (0.1,), ()
    config.prune.learning_rate.schedule, config.prune.time_constant = "constant", 0.2
    config.prune.schedule, config.prune.sparsity = "exponential", 0.5
    config.snapshots.every_epochs, config.snapshots.weights = 1, True
    found, weights = {}, {}
    for name in ("none", "shadow"):
        config.prune.control = name
        run = Run(Settings("prune", config, tmp_path / name))
        found[name] = run.run(print_fn=lambda text: None)
        weights[name] = run.model.get_weights()
    for a, b in zip(weights["none"], weights["shadow"], strict=True):
        np.testing.assert_array_equal(a, b)
    assert found["shadow"]["observe"] is True and "observe" not in found["none"]
    assert found["none"]["keep_actual"] == 1.0 and found["none"]["keep_target"] == 1.0
    assert found["shadow"]["keep_actual"] <= found["shadow"]["keep_target"] == pytest.approx(0.5)
    assert found["shadow"]["kernel_sparsity"] == found["none"]["kernel_sparsity"] < 0.1
    record = analysis.read_run(tmp_path / "shadow")
    assert record.observed and not analysis.read_run(tmp_path / "none").observed
    assert record.settings["config"]["prune"]["control"] == "shadow"
    first, last = record.snapshots[0], record.snapshots[-1]
    assert first.step == 0 and last.step == record.rows[-1]["step"] == found["shadow"]["steps"]
    assert last.keep_ratio == pytest.approx(found["shadow"]["keep_actual"])
    assert analysis.shed_rate(record.rows)[0].size > 0
    assert any(np.array_equal(w, last.weights[0]) for w in weights["shadow"]), (
        "the last snapshot has the weights of the run"
    )


@pytest.mark.backend
def test_matched_scale_changes_the_weights_and_not_the_net():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 3))
    first = keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    x = keras.layers.BatchNormalization(epsilon=1e-7)(first)
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="second")(x)
    x = keras.layers.BatchNormalization(epsilon=1e-7)(x)
    # The output of this one goes elsewhere, too, and that of the next is not linear.
    side = keras.layers.Conv2D(4, 1, name="side")(x)
    x = keras.layers.Add()([keras.layers.BatchNormalization()(side), side])
    x = keras.layers.Conv2D(4, 1, activation="relu", name="bent")(x)
    x = keras.layers.Flatten()(keras.layers.BatchNormalization()(x))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(x))
    model.get_layer("first").kernel.assign(10.0 * array(model.get_layer("first").kernel))
    model.get_layer("first").bias.assign(np.ones(4, "float32"))
    before = {x.name: array(x.kernel) for x in model.layers if hasattr(x, "kernel")}
    data = normal(5, 6, 6, 3)
    trained = array(model(data, training=True))  # which moves the statistics
    output = array(model(data, training=False))
    assert [path.split("/")[-2] for path in match_scale(model)] == ["first", "second"]
    for name, kernel in before.items():
        now = array(model.get_layer(name).kernel)
        assert (now == kernel).all() == (name not in ("first", "second"))
    scale = [np.sqrt((array(model.get_layer(n).kernel) ** 2).mean()) for n in ("first", "second")]
    whole = np.concatenate([before["first"].ravel(), before["second"].ravel()])
    np.testing.assert_allclose(scale, np.sqrt((whole**2).mean()), rtol=1e-5)
    np.testing.assert_allclose(array(model(data, training=False)), output, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(array(model(data, training=True)), trained, rtol=2e-3, atol=2e-3)
