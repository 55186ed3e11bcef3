"""tf_keras: a model is pruned by the optimizer that steps, or somebody says that it is not."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

import tfshed
from tests.attach.tf_keras.nets import check_zeros, data, keep, net, prune, tf_keras
from tfshed import tfmot
from tfshed.attach.tf_keras.hook import hook_of
from tfshed.attach.tf_keras.wrapped import wrappers_of

SGD = tf_keras.optimizers.SGD
HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)
X, Y = data()


def pruned(optimizer=None, **options):
    model = prune(net(), HALF, threshold=0.0, **options)
    if optimizer is not None:
        model.compile(optimizer, "mse", run_eagerly=True)
    return model


def fit(model, *callbacks, epochs=1):
    callbacks = callbacks or (tfmot.UpdatePruningStep(),)
    model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks))


class TwoOptimizers(tf_keras.Model):
    """Trains a part with an optimizer of its own, as a generative adversarial network does."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def call(self, inputs, training=None):
        return self.part(inputs, training=training)

    def train_step(self, batch):
        x, y = batch
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.part(x, training=True) - y) ** 2)
        variables = self.part.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.stepping().apply_gradients(zip(gradients, variables))
        return {"loss": loss}


@pytest.mark.parametrize(
    "held, eager", [("attribute", True), ("attribute", False), ("list", True), ("dict", True)]
)
def test_an_optimizer_in_an_attribute_prunes_in_a_train_step_of_its_own(held, eager):
    model, own = TwoOptimizers(pruned()), SGD(0.02)
    if held == "attribute":
        model.own_optimizer, model.stepping = own, lambda: model.own_optimizer
    elif held == "list":
        model.own_optimizers, model.stepping = [own], lambda: model.own_optimizers[0]
    else:
        model.own_optimizers, model.stepping = {"g": own}, lambda: model.own_optimizers["g"]
    model.compile(run_eagerly=eager)
    fit(model)
    check_zeros(model)
    assert keep(model) == 0.5
    assert {int(w.pruning_step) for w in wrappers_of(model)} == {4}


@pytest.mark.parametrize("eager", [True, False])
def test_an_optimizer_that_the_model_does_not_hold_is_an_error_or_is_named(eager):
    model, hidden = TwoOptimizers(pruned()), SGD(0.02)
    model.stepping = lambda: hidden
    model.compile("adam", run_eagerly=eager)
    with pytest.raises(RuntimeError, match=r"took no step.*tfmot.bind\(model, optimizer\)"):
        fit(model)
    named, hidden = TwoOptimizers(pruned()), SGD(0.02)
    named.stepping = lambda: hidden
    named.compile("adam", run_eagerly=eager)
    tfmot.bind(named.part, hidden)
    fit(named)
    assert keep(named) == 0.5 and int(wrappers_of(named)[0].pruning_step) == 4


def test_two_parts_with_an_optimizer_each():
    class Both(TwoOptimizers):
        def __init__(self, part, other):
            super().__init__(part)
            self.other, self.optimizers = other, (SGD(0.02), SGD(0.01))

        def train_step(self, batch):
            x, y = batch
            for part, optimizer in zip((self.part, self.other), self.optimizers):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((part(x, training=True) - y) ** 2)
                gradients = tape.gradient(loss, part.trainable_variables)
                optimizer.apply_gradients(zip(gradients, part.trainable_variables))
            return {"loss": loss}

    model = Both(pruned(), prune(net(), tfshed.ConstantSparsity(0.75, 0, frequency=1)))
    model.compile(run_eagerly=True)
    fit(model)
    assert keep(model.part) == 0.5 and keep(model.other) == 0.25
    # Each counts its own steps.
    assert {int(w.pruning_step) for w in wrappers_of(model)} == {4}


@pytest.mark.parametrize("with_the_callback", [True, False])
def test_a_plain_optimizer_after_a_pruning_run_prunes_or_is_an_error(with_the_callback):
    model = pruned(SGD(0.02))
    fit(model)
    before = keep(model)
    if with_the_callback:
        model.compile(SGD(0.05), "mse", run_eagerly=True)
        fit(model)
    else:
        # A whole model from prune_low_magnitude binds whatever it is compiled with.
        model.compile(SGD(0.05), "mse", run_eagerly=True)
        model.fit(X, Y, batch_size=16, verbose=0)
    check_zeros(model)
    assert keep(model) == before == 0.5


@pytest.mark.parametrize("eager", [True, False])
def test_an_optimizer_set_without_compile_prunes(eager):
    model = prune(net(), HALF, threshold=0.0)
    model.compile(SGD(0.02), "mse", run_eagerly=eager)
    fit(model)
    other = SGD(0.05)
    model.optimizer = other
    fit(model)
    check_zeros(model)
    assert keep(model) == 0.5 and hook_of(other) is not None
    assert int(other.iterations) == 4 and int(wrappers_of(model)[0].pruning_step) == 8


def loop(model, optimizer, steps=3):
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(X, training=True) - Y) ** 2)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))


def test_tfmots_custom_loop_with_another_optimizer_is_an_error_at_the_end_of_the_epoch():
    model = pruned()
    model.optimizer = SGD(0.02)
    callback = tfmot.UpdatePruningStep()
    callback.set_model(model)
    callback.on_train_begin()
    loop(model, model.optimizer)
    callback.on_epoch_end(batch=-1)
    assert keep(model) == 0.5
    loop(model, SGD(0.02))
    with pytest.raises(RuntimeError, match="took no step"):
        callback.on_epoch_end(batch=-1)


def test_zeros_trained_away_beside_the_optimizer_that_prunes_are_an_error():
    model = pruned(SGD(0.02))

    class TrainsItToo(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            loop(self.model, SGD(0.1), steps=1)

    with pytest.raises(RuntimeError, match="expected zeros.*'a/kernel', 'b/kernel'"):
        fit(model, TrainsItToo(), tfmot.UpdatePruningStep())


def test_a_named_optimizer_may_train_several_parts():
    parts, optimizer = [pruned(), pruned()], SGD(0.02)
    hooks = [tfmot.bind(part, optimizer) for part in parts]
    assert hook_of(optimizer) is hooks[1]
    x, y = X[:16], Y[:16]
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_mean((part(x, training=True) - y) ** 2) for part in parts)
        variables = [v for part in parts for v in part.trainable_variables]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    assert [keep(part) for part in parts] == [0.5, 0.5]
    with pytest.raises(TypeError, match="optimizer: expected a tf_keras optimizer.*builtins.str"):
        tfmot.bind(parts[0], "sgd")


def test_nothing_of_ours_stays_on_an_optimizer_that_is_let_go():
    optimizer = SGD(0.02)
    before = dict(vars(optimizer))
    model = pruned(optimizer)
    hook = weakref.ref(tfmot.bind(model))
    assert not any("tfshed" in name for name in vars(optimizer))
    tfshed.strip_pruning(model)
    assert vars(optimizer).keys() == before.keys()
    gc.collect()
    assert hook() is None


def test_steps_that_loss_scaling_skips_are_no_error():
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    model = prune(net(dtype="float32"), HALF, threshold=0.0)
    scaled = tf_keras.mixed_precision.LossScaleOptimizer(SGD(0.01), initial_scale=2.0**15)
    model.compile(scaled, "mse", run_eagerly=True)
    with pytest.warns(UserWarning, match="training ended before .* in its 0 steps"):
        model.fit(X * np.inf, Y, batch_size=16, verbose=0, callbacks=[tfmot.UpdatePruningStep()])
    assert int(wrappers_of(model)[0].pruning_step) == 0 and keep(model) == 1.0


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_the_best_weights_of_early_stopping_have_their_masks(dtype):
    tf_keras.mixed_precision.set_global_policy(dtype)
    schedule = tfshed.LinearDecay(0.75, end_step=12, frequency=4)
    model = prune(net(dtype="float32"), schedule, threshold=0.0)
    model.compile(SGD(0.02), "mse", run_eagerly=True)

    class WorseEveryEpoch(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["worse"] = float(epoch)

    WorseEveryEpoch._supports_tf_logs = tf_keras.callbacks.EarlyStopping._supports_tf_logs = True
    best = tf_keras.callbacks.EarlyStopping(
        "worse", patience=5, restore_best_weights=True, mode="min", verbose=0
    )
    best.stopped_epoch = 1
    fit(model, tfmot.UpdatePruningStep(), WorseEveryEpoch(), best, epochs=3)
    model.set_weights(best.best_weights)
    assert keep(model) == 0.75
    before = model(X).numpy()
    stripped = tfshed.strip_pruning(model)
    np.testing.assert_array_equal(stripped(X), before)


def test_stripping_never_changes_outputs_and_tells_of_weights_that_were_set():
    model = pruned(SGD(0.02))
    fit(model)
    for wrapper in wrappers_of(model):
        weight, *others = wrapper.layer.get_weights()
        wrapper.layer.set_weights([np.ones_like(weight), *others])
    before = model(X).numpy()
    with pytest.warns(UserWarning, match="strip_pruning: expected zeros .*'a/kernel', 'b/kernel'"):
        stripped = tfshed.strip_pruning(model)
    np.testing.assert_array_equal(stripped(X), before)
    # As the warning says, without another.
    for wrapper in tfmot.collect_prunable_layers(model):
        wrapper.pruning_obj.weight_mask_op()
    assert keep(model) == 0.5
    after = model(X).numpy()
    np.testing.assert_array_equal(tfshed.strip_pruning(model)(X), after)


@pytest.mark.parametrize(
    "schedule, epochs, words",
    [
        (tfshed.ConstantSparsity(0.5, 100), 1, "in its 4 steps no pruning update was due"),
        (
            tfshed.LinearDecay(0.75, end_step=40, frequency=2),
            2,
            "after 8 steps the target is a sparsity of 0.1500, and the schedule ends in step 40",
        ),
        (tfshed.LinearDecay(0.75, end_step=8, frequency=2), 2, None),
    ],
)
def test_training_that_ends_before_the_schedule_is_told(schedule, epochs, words, recwarn):
    model = prune(net(), schedule, threshold=0.0)
    model.compile(SGD(0.02), "mse", run_eagerly=True)
    if words is None:
        fit(model, epochs=epochs)
    else:
        with pytest.warns(UserWarning, match=f"training ended before.*{words}"):
            fit(model, epochs=epochs)
