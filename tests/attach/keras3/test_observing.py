"""Shadow masks (`observe=True`): the rule is applied to masks, and training is as without it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfshed
from tests.nets import BACKEND, JIT, data, group, kernels, net, schedule
from tfshed.attach.agreement import disagreement
from tfshed.attach.kernels import candidates
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig

pytestmark = pytest.mark.backend

OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3),
    "adam": lambda: keras.optimizers.Adam(0.01),
    # These change all weights when the gradient of one is set to zero.
    "clipped": lambda: keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=0.1),
    "averaged": lambda: keras.optimizers.SGD(
        0.05, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3
    ),
}


def declared(model=None, **options):
    options = {"scope": "global", "threshold": 0.01, "observe": True, **options}
    return tfshed.prune_low_magnitude(net() if model is None else model, schedule(0.75), **options)


def train(model, optimizer=None, epochs=3, callbacks=(), compile=True):
    if compile:
        model.compile(
            optimizer or keras.optimizers.SGD(0.05, momentum=0.9), "mse", jit_compile=JIT[0]
        )
    x, y = data(32)
    return model.fit(
        x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks)
    )


def observe(model, **options):
    return train(model, callbacks=[tfshed.UpdatePruningStep()], **options)


def masks(model):
    return [to_numpy(m) for m in group(model).masks]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_observed_model_is_trained_bit_for_bit_like_one_that_is_not_pruned(name):
    plain = net()
    train(plain, OPTIMIZERS[name]())
    model = declared()
    observe(model, optimizer=OPTIMIZERS[name]())
    for w, now in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(w, now)
    inner = model.optimizer.inner_optimizer
    for v, now in zip(plain.optimizer.variables, inner.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(v), to_numpy(now))
    # It saw something: the schedule and the threshold took weights from the masks.
    counts = to_numpy(group(model).counts)
    assert sum(int(m.sum()) for m in masks(model)) <= 18 and counts[1:].sum() >= 54
    assert float(to_numpy(group(model).threshold)[0]) > 0.01


def test_masks_that_are_made_anew_change_no_weight_either():
    plain, model = net(), declared(monotone=False, threshold=0.0)
    train(plain)
    observe(model)
    for w, now in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(w, now)
    assert sum(int(m.sum()) for m in masks(model)) == 18


@pytest.mark.parametrize("mask_gradients", [True, "auto"])
def test_no_gradient_is_masked_in_a_loop_of_ones_own(mask_gradients):
    model = declared()
    optimizer = tfshed.PruningOptimizer("sgd", model, mask_gradients=mask_gradients)
    optimizer.build(model.trainable_variables)
    for _ in range(8):
        before = [to_numpy(v) for v in model.trainable_variables]
        grads = [keras.ops.ones(v.shape) for v in model.trainable_variables]
        optimizer.apply(grads, model.trainable_variables)
        for old, variable in zip(before, model.trainable_variables):
            np.testing.assert_allclose(to_numpy(variable), old - 0.01, rtol=1e-5, atol=1e-7)
    assert sum(int(to_numpy(m).sum()) for m in optimizer.groups[0].masks) <= 18


def test_a_saved_model_goes_on_observing_where_it_was(tmp_path):
    model = declared()
    observe(model, epochs=1)
    model.save(tmp_path / "net.keras")
    other = keras.saving.load_model(tmp_path / "net.keras")
    assert group(other).config.observe
    for a, b in zip(masks(model), masks(other), strict=True):
        np.testing.assert_array_equal(a, b)
    observe(model, epochs=2, compile=False)
    observe(other, epochs=2, compile=False)
    for a, b in zip(
        [*masks(model), *kernels(model)], [*masks(other), *kernels(other)], strict=True
    ):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(to_numpy(group(model).counts), to_numpy(group(other).counts))


def test_freezing_thawing_and_compiling_anew_continue_the_shadow_masks():
    model = declared()
    observe(model, epochs=2)
    before, threshold = masks(model), to_numpy(group(model).threshold)
    model.layers[0].trainable = False
    observe(model, epochs=1)
    assert len(group(model).kernels) == 1
    model.layers[0].trainable = True
    observe(model, epochs=1)
    now = masks(model)
    assert not (now[0] & ~before[0]).any() and not (now[1] & ~before[1]).any()
    assert to_numpy(group(model).threshold) >= threshold
    assert all(w.all() for w in kernels(model))


def test_starting_again_begins_with_all_weights():
    model = declared()
    observe(model)
    taken = sum(int((~m).sum()) for m in masks(model))
    model.compile("sgd", "mse", jit_compile=JIT[0])
    tfshed.UpdatePruningStep(start="again").set_model(model)
    assert taken > 0 and all(m.all() for m in masks(model))


def test_shadow_masks_are_no_start_for_real_pruning():
    model = declared()
    observe(model)
    with pytest.warns(UserWarning, match="nothing was pruned in net"):
        plain = tfshed.strip_pruning(model)
    before = [to_numpy(v) for v in plain.trainable_variables]
    again = declared(plain, observe=False)
    for start in ("auto", "continue"):
        again.compile("sgd", "mse", jit_compile=JIT[0])
        tfshed.UpdatePruningStep(start=start).set_model(again)
        assert all(m.all() for m in masks(again))
    for w, variable in zip(before, again.trainable_variables):
        np.testing.assert_array_equal(w, to_numpy(variable))


def test_the_checks_know_that_shadow_masks_take_nothing():
    model = declared()
    observe(model)
    assert any((~m).any() for m in masks(model))
    assert disagreement([c.kernel for c in candidates(model)]) is None
    found = tfshed.summary(model, print_fn=lambda text: None)
    assert found.disagreement == "" and found.pruned_sparsity == 0.0
    assert all(row.observed and row.keep_ratio < 1.0 for row in found.rows)
    assert "observed, pruning 0" in str(found) and "no weight is pruned" in str(found)
    # A checkpoint of weights is no disagreement either: the next fit goes on.
    model.set_weights(net(seed=1).get_weights())
    observe(model, epochs=1, compile=False)


def test_keep_ratio_shows_the_shadow_and_says_so(tmp_path):
    keep = tfshed.KeepRatio(tmp_path, plot=False, tensorboard=False)
    model = declared()
    history = train(model, callbacks=[tfshed.UpdatePruningStep(), keep])
    last = keep.history[-1]
    kept = sum(int(m.sum()) for m in masks(model)) / 72
    assert last["observed"] == 1.0 and last["actual"] == pytest.approx(kept)
    assert last["target"] == 0.25 and last["scheduled"] + last["shed"] == round(72 * (1 - kept))
    assert history.history["keep_actual"][-1] == pytest.approx(kept)
    assert "observed" in (tmp_path / "keep_ratio.csv").read_text().splitlines()[0].split(",")


@pytest.mark.parametrize(
    "options",
    [
        {"hold_zeros": True},
        {"granularity": "4x1", "weight_decay": tfshed.SelectiveWeightDecay(1e-4)},
    ],
)
def test_what_changes_weights_is_refused(options):
    with pytest.raises(ValueError, match="observe: expected False together with"):
        PruningConfig(tfshed.OneShot(0.5), observe=True, **options)
    with pytest.raises(ValueError, match="observe: expected True or False"):
        PruningConfig(tfshed.OneShot(0.5), observe="yes")


def test_zeros_that_pruning_made_are_not_given_up():
    plain = tfshed.sparsify(net(), 0.5)
    before = plain.get_weights()
    with pytest.raises(ValueError, match="observe: expected kernels that were never pruned"):
        declared(plain)
    with pytest.raises(ValueError, match="observe: expected kernels that were never pruned"):
        declared(plain.layers[0])
    for w, now in zip(before, plain.get_weights()):
        np.testing.assert_array_equal(w, now)
    # Zeros that no pruning made are trained as all others, as without pruning.
    zeros = net()
    zeros.layers[0].kernel.assign(np.where(np.eye(6, 8), 0.0, to_numpy(zeros.layers[0].kernel)))
    model = declared(zeros)
    observe(model, epochs=1)
    assert kernels(model)[0].all()


def test_sparsify_and_keep_zeros_are_refused():
    model = declared()
    with pytest.raises(ValueError, match="declared with observe=True, which holds no weight"):
        tfshed.sparsify(model, 0.5)
    assert all(w.all() for w in kernels(model))
    model.layers[0].layer.kernel.assign(np.eye(6, 8, dtype="float32"))
    with pytest.raises(ValueError, match="KeepZeros: expected kernels that are pruned"):
        train(model, callbacks=[tfshed.UpdatePruningStep(), tfshed.KeepZeros()])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf_keras runs on TensorFlow alone")
@pytest.mark.parametrize("monotone", [True, False])
def test_tf_keras_observes_as_well(monotone):
    tf_keras = pytest.importorskip("tf_keras")
    from tfshed import tfmot

    def trained(prepare, *callbacks):
        tf_keras.utils.set_random_seed(0)
        layers = [tf_keras.layers.Dense(8, "relu", input_shape=(6,)), tf_keras.layers.Dense(3)]
        model = prepare(tf_keras.Sequential(layers))
        model.compile(tf_keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=0.1), "mse")
        x, y = data(32)
        model.fit(x, y, 8, 3, shuffle=False, verbose=0, callbacks=list(callbacks))
        return model

    plain = trained(lambda model: model)
    options = {"threshold": 0.01} if monotone else {"monotone": False, "threshold": 0.0}
    observed = trained(lambda m: declared(m, **options), tfmot.UpdatePruningStep())
    found = [x for wrapper in observed.layers for x in wrapper.pruning_vars]
    assert sum(int(mask.numpy().sum()) for _, mask, _ in found) <= 18
    with pytest.warns(UserWarning, match="nothing was pruned"):
        stripped = tfshed.strip_pruning(observed)
    for w, now in zip(plain.get_weights(), stripped.get_weights(), strict=True):
        np.testing.assert_array_equal(w, now)
