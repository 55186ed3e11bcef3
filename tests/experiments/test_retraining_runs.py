"""The phase `retrain`: weights x masks x rate x epochs, exact to the bit."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tests.experiments.test_run import quiet, settings
from tfshed.core.backend import to_numpy
from tfshed.experiments import Run
from tfshed.experiments.retraining.fresh_weights import OTHER_SEED
from tfshed.experiments.retraining.keep_epochs import read_epoch
from tfshed.experiments.retraining.masks import masked, masks_of
from tfshed.experiments.retraining.rounds import rounds_of
from tfshed.experiments.retraining.strategies import STRATEGIES, budget_epochs
from tfshed.experiments.save_checkpoints import SaveCheckpoints

pytestmark = pytest.mark.backend

SMALL = {
    "data.fraction": 0.3,  # 3 steps an epoch
    "train.epochs": 4,
    "train.learning_rate.rates": (0.1, 0.01),
    "train.learning_rate.milestones": (3.0,),
    "checkpoint.keep_epochs": (0, 2),
    "checkpoint.every_steps": 0,
    "retrain.batch_size": 144,
    "retrain.epochs": 2,
    "retrain.sparsity": 0.75,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A trained run that has kept the weights before training and after epoch 2."""
    folder = tmp_path_factory.mktemp("base") / "run"
    Run(settings(folder, "train", **SMALL)).run(quiet)
    return folder


def retraining(workdir, base, **changed):
    given = {**SMALL, "initial_weights": str(base), **changed}
    return settings(workdir, "retrain", **given)


def weights_of(path):
    return keras.saving.load_model(path / "model.keras", compile=False).get_weights()


def same(some, others):
    for a, b in zip(some, others, strict=True):
        np.testing.assert_array_equal(a, b)


def pruned_by_hand(weights, sparsity=0.75):
    """Masks of the three kernels: the smallest magnitudes of all of them together."""
    kernels = [w for w in weights if w.ndim == 2]
    every = np.sort(np.abs(np.concatenate([k.ravel() for k in kernels])))
    threshold = every[round(sparsity * every.size) - 1]
    return [np.abs(w) > threshold if w.ndim == 2 else None for w in weights]


@pytest.mark.parametrize(
    ("strategy", "source", "epochs", "first_rate", "last_rate"),
    [
        ("fine_tune", "trained", 2, 0.01, 0.01),
        ("rewind_rate", "trained", 2, 0.1, 0.01),
        ("scaled_restart", "trained", 2, 0.01, 0.001),
        ("one_cycle", "trained", 2, 0.01, 0.01),
        ("rewind_weights", 2, 2, 0.1, 0.01),
        ("rewind_weights_only", 2, 2, 0.01, 0.01),
        ("reinitialize", "fresh", 2, 0.1, 0.01),
        ("lottery_ticket", 0, 4, 0.1, 0.01),
        ("random_ticket", "fresh", 4, 0.1, 0.01),
    ],
)
def test_weights_and_masks_are_exact(
    base, tmp_path, strategy, source, epochs, first_rate, last_rate
):
    run = Run(retraining(tmp_path / "r", base, **{"retrain.strategy": strategy}))
    trained = weights_of(base)
    if source == "trained":
        wanted = trained
    elif source == "fresh":
        wanted = run._net(OTHER_SEED).get_weights()
        assert not np.array_equal(wanted[0], read_epoch(base / "epochs" / "epoch-0000.npz")[0])
    else:
        wanted = read_epoch(base / "epochs" / f"epoch-{source:04d}.npz")
    masks = pruned_by_hand(trained)
    same(run.model.get_weights(), masked(wanted, masks))
    assert run.phase.epochs == epochs and run.total_steps == 3 * epochs
    rate = run.model.optimizer.learning_rate
    inner = run.model.optimizer.inner_optimizer
    rate = getattr(inner, "_learning_rate", rate)
    found = [float(to_numpy(rate(step))) for step in (0, run.total_steps - 1)]
    assert found == pytest.approx([first_rate, last_rate], rel=1e-5)


def test_masks_are_held_and_the_run_says_what_it_did(base, tmp_path):
    found = Run(retraining(tmp_path / "r", base)).run(quiet)
    assert found["strategy"] == "rewind_rate" and found["epochs"] == 2
    assert found["kernel_sparsity"] == pytest.approx(0.75, abs=1e-4)
    assert found["keep_target"] == pytest.approx(found["keep_actual"], abs=1e-6)
    assert set(found["before"]) == set(found["after"])
    after, masks = weights_of(tmp_path / "r"), pruned_by_hand(weights_of(base))
    for weight, mask in zip(after, masks):
        if mask is not None:
            np.testing.assert_array_equal(weight != 0, mask)


def test_an_interrupted_retraining_ends_as_the_unbroken_one(base, tmp_path, monkeypatch):
    changed = {"checkpoint.every_steps": 2, "retrain.strategy": "rewind_weights"}
    unbroken = Run(retraining(tmp_path / "unbroken", base, **changed)).run(quiet)
    plain = SaveCheckpoints.on_train_batch_begin

    def interrupted(self, batch, logs=None):
        plain(self, batch, logs)
        if self._epoch_start + batch == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SaveCheckpoints, "on_train_batch_begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Run(retraining(tmp_path / "broken", base, **changed)).run(quiet)
    broken = Run(retraining(tmp_path / "broken", base, **changed)).run(quiet)
    for found in (broken, unbroken):
        found.pop("steps_per_second")
    assert broken == unbroken
    same(weights_of(tmp_path / "broken"), weights_of(tmp_path / "unbroken"))


def test_any_weights_go_with_any_masks(base, tmp_path):
    Run(retraining(tmp_path / "pruned", base)).run(quiet)
    changed = {"start.weights": f"{base}@2", "start.masks": str(tmp_path / "pruned")}
    run = Run(retraining(tmp_path / "r", base, **changed, **{"retrain.sparsity": 0.0}))
    masks = [None if w.ndim == 1 else w != 0 for w in weights_of(tmp_path / "pruned")]
    early = read_epoch(base / "epochs" / "epoch-0002.npz")
    same(run.model.get_weights(), masked(early, masks))


def test_scratch_draws_weights_that_fit_what_is_left(base, tmp_path):
    run = Run(retraining(tmp_path / "e", base, **{"retrain.strategy": "scratch_e"}))
    masks = pruned_by_hand(weights_of(base))
    assert run.phase.epochs == 4
    for weight, mask in zip(run.model.get_weights(), masks):
        if mask is not None:
            np.testing.assert_array_equal(weight != 0, mask)
            sigma = np.sqrt(2 / (mask.sum() / mask.shape[0]))
            assert weight[mask].std() == pytest.approx(sigma, rel=0.15)
    longer = Run(retraining(tmp_path / "b", base, **{"retrain.strategy": "scratch_b"}))
    # A dense net costs its weights, so a quarter of them has four times the epochs.
    assert longer.phase.epochs == 16
    most = {"retrain.strategy": "scratch_b", "retrain.budget_most": 2.0}
    assert Run(retraining(tmp_path / "c", base, **most)).phase.epochs == 8


def test_published_budgets():
    """Liu et al. 2019: FLOPs cut by 34.2 %, 10.4 %, 27.6 %, 15.9 % and 38.7 %."""
    cuts = {34.2: 243, 10.4: 178, 27.6: 220, 15.9: 190, 38.7: 261}
    for cut, epochs in cuts.items():
        assert budget_epochs(160, 1000, round(10 * (100 - cut))) == epochs
    assert budget_epochs(90, 100, 40, most_times=2) == 180


def test_no_pruning_is_the_control(base, tmp_path):
    run = Run(retraining(tmp_path / "r", base, **{"retrain.sparsity": 0.0}))
    same(run.model.get_weights(), weights_of(base))
    found = run.run(quiet)
    assert found["kernel_sparsity"] < 1e-3 and "keep_actual" not in found


def test_iterative_rounds_prune_what_was_retrained(base, tmp_path):
    chosen = retraining(tmp_path / "r", base, **{"retrain.rounds": 2, "retrain.epochs": 1})
    made = rounds_of(chosen)
    assert [each.workdir.name for each in made] == ["r-round1", "r"]
    sparsities = [Run(each).run(quiet)["kernel_sparsity"] for each in made]
    assert sparsities == pytest.approx([0.5, 0.75], abs=1e-3)
    first, last = (masks_of(keras.saving.load_model(e.workdir / "model.keras")) for e in made)
    for before, after in zip(first, last):
        assert after is None or not (after & ~before).any()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"retrain.strategy": "rewind_weight"}, "Did you mean 'rewind_weights'"),
        ({"start.weights": "{base}@3"}, r"kept the epochs 0, 2\. Train it again .*\(0, 2, 3,\)"),
        ({"retrain.strategy": "rewind_weights", "retrain.epochs": 1}, "epoch 3 of"),
        ({"retrain.strategy": "rewind_weights", "retrain.epochs": 9}, "at most 4"),
        ({"start.weights": "{base}/other"}, "config.start.weights: expected"),
        ({"start.masks": "{base}"}, "config.start.masks: expected a pruned net"),
        ({"train.epochs": 5}, r"config.train.epochs: expected 4 \(scale 1.0\)"),
        ({"retrain.learning_rate.schedule": "rewinds"}, "rewind"),
        ({"initial_weights": ""}, "config.initial_weights"),
    ],
)
def test_what_cannot_be_is_said(base, tmp_path, changed, words):
    changed = {k: v.format(base=base) if isinstance(v, str) else v for k, v in changed.items()}
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        Run(retraining(tmp_path / "r", base, **changed))
    assert not (tmp_path / "r").exists()


def test_every_strategy_has_a_rate_that_is_there():
    from tfshed import learning_rates

    for name in STRATEGIES:
        learning_rates.find(STRATEGIES.get(name).rate)


FILTERS = {
    **SMALL,
    "model.name": "resnet8",
    "model.preprocessing": "unit",
    "model.options": {"width": 4, "shortcut": "A"},
    "train.epochs": 2,
    "train.learning_rate.milestones": (1.0,),
    "checkpoint.keep_epochs": (0, 1),
    "train.scale_penalty": 1e-3,
    "train.soft_filters": 0.25,
    "retrain.epochs": 1,
    "retrain.sparsity": 0.5,
}


def zeros(model):
    return [w == 0 for w in model.get_weights() if w.ndim == 4]


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory):
    """A trained run with network slimming's penalty and soft filter pruning."""
    folder = tmp_path_factory.mktemp("convolutional") / "run"
    Run(settings(folder, "train", **FILTERS)).run(quiet)
    return folder


def test_training_can_penalise_scales_and_prune_softly(convolutional):
    net = keras.saving.load_model(convolutional / "model.keras", compile=False)
    assert len(net.losses) == 7  # one for each normalisation
    kernel = to_numpy(net.get_layer("stage2_block1_conv1").kernel)
    assert int((kernel != 0).any(axis=(0, 1, 2)).sum()) == 6  # of 8


@pytest.mark.parametrize(
    ("filters", "strategy"),
    [("l1", "fine_tune"), ("random", "rewind_weights"), ("scale", "fine_tune")],
)
def test_a_smaller_net_is_retrained(convolutional, tmp_path, filters, strategy):
    changed = {**FILTERS, "retrain.filters": filters, "retrain.strategy": strategy}
    run = Run(retraining(tmp_path / "run", convolutional, **changed))
    kept = 1 if strategy == "rewind_weights" else None
    trained = keras.saving.load_model(convolutional / "model.keras", compile=False)
    dense = trained.count_params()
    assert run.model.count_params() < 0.9 * dense
    if filters == "l1":
        # What is left of the trained net, to the bit.
        wide = to_numpy(trained.get_layer("stage1_block1_conv1").kernel)
        lowest = np.argsort(np.abs(wide).sum(axis=(0, 1, 2)), kind="stable")[:2]
        stay = [i for i in range(4) if i not in lowest]
        mine = to_numpy(run.model.get_layer("stage1_block1_conv1").kernel)
        assert mine.shape[-1] == 2
        np.testing.assert_array_equal(wide[:, :, -mine.shape[2] :, stay][..., :, :], mine)
    if kept:
        before = read_epoch(convolutional / "epochs" / "epoch-0001.npz")
        bias = to_numpy(run.model.get_layer("logits").bias)
        assert any(w.shape == bias.shape and (w == bias).all() for w in before)
    found = run.run(quiet)
    assert found["parameters"] == run.model.count_params()
    # Filters whose channels a residual connection needs stay, and stay zero.
    same([w == 0 for w in run.start.weights if w.ndim == 4], zeros(run.model))
    small = keras.saving.load_model(tmp_path / "run" / "model.keras", compile=False)
    assert small.count_params() == found["parameters"]


def test_scratch_trains_the_smaller_net_anew_for_its_budget(convolutional, tmp_path):
    changed = {**FILTERS, "retrain.filters": "l2", "retrain.strategy": "scratch_b"}
    run = Run(retraining(tmp_path / "run", convolutional, **changed))
    dense = tfshed.flops(keras.saving.load_model(convolutional / "model.keras", compile=False))
    assert run.phase.epochs == budget_epochs(2, dense.macs, tfshed.flops(run.model).macs) > 2
    gamma = to_numpy(run.model.get_layer("stage1_block1_bn1").gamma)
    np.testing.assert_array_equal(gamma, 1.0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"retrain.filters": "l3"}, "config.retrain.filters: expected one of"),
        ({"retrain.filters": "l1", "retrain.rounds": 2}, "config.retrain.rounds: expected 1"),
        ({"retrain.preset": "vgg16_a"}, "config.retrain.filters: expected one of l1"),
        ({"retrain.filters": "l1", "retrain.preset": "vgg16a"}, "Did you mean 'vgg16_a'"),
        ({"retrain.filters": "l1", "retrain.preset": "vgg16_a"}, "which is of vgg16_bn"),
    ],
)
def test_filters_that_cannot_be_are_refused(convolutional, tmp_path, changed, words):
    with pytest.raises(ValueError, match=words):
        Run(retraining(tmp_path / "run", convolutional, **{**FILTERS, **changed}))
