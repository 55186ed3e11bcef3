"""One owner for every kernel: who prunes it, when it changes, and what is said when it is wrong."""

from __future__ import annotations

import gc
import logging

import keras
import numpy as np
import pytest

import tfshed
from tests.nets import BACKEND, JIT, array, check_zeros, data, group, kernels, net, pruned, schedule
from tfshed.attach import ownership
from tfshed.attach.keras3.optimizer import pruning_optimizer
from tfshed.attach.keras3.wrapping import ensure_pruning
from tfshed.attach.ownership import owner_of
from tfshed.core.backend import to_numpy

pytestmark = pytest.mark.backend
HALF = tfshed.ConstantSparsity(0.5, 0, frequency=1)


def declared(**options):
    return tfshed.prune_low_magnitude(net(), HALF, **options)


def train(model, *callbacks, epochs=1, callback=True, **options):
    x, y = data(32)
    callbacks = [tfshed.UpdatePruningStep(), *callbacks] if callback else list(callbacks)
    return model.fit(
        x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options
    )


def variables(model):
    return [v for v in model.trainable_variables if v.name == "kernel"]


def sparsity(model):
    weights = kernels(model)
    return 1 - sum(np.count_nonzero(w) for w in weights) / sum(w.size for w in weights)


def step_by_hand(model, optimizer, steps=1):
    """Steps with gradients that move every weight, as a training loop of one's own."""
    for _ in range(steps):
        model(data(4)[0], training=True)
        grads = [keras.ops.ones(v.shape) for v in model.trainable_variables]
        optimizer.apply_gradients(zip(grads, model.trainable_variables))


def test_a_model_that_goes_leaves_nothing_in_the_table():
    gc.collect()
    before = len(ownership._owners), len(ownership._models)
    model = declared()
    model.compile("sgd", "mse", jit_compile=JIT[0])
    train(model)
    assert all(owner_of(v).optimizer is model.optimizer for v in variables(model))
    del model
    keras.backend.clear_session(free_memory=False)
    gc.collect()
    assert (len(ownership._owners), len(ownership._models)) == before


def test_the_last_one_that_claims_a_kernel_owns_it():
    model = declared()
    model.compile("sgd", "mse", jit_compile=JIT[0])
    train(model)
    mine = tfshed.PruningOptimizer("sgd", model)
    mine.build(model.trainable_variables)
    assert all(owner_of(v).optimizer is mine for v in variables(model))
    with pytest.raises(RuntimeError, match="one optimizer for each kernel"):
        model.optimizer.apply([keras.ops.ones(v.shape) for v in model.trainable_variables])
    train(model)
    assert all(owner_of(v).optimizer is model.optimizer for v in variables(model))
    del mine


# Item 1: loss scaling.
@pytest.mark.parametrize("explicit", [False, True])
def test_mixed_precision_goes_on_after_saving(explicit, tmp_path):
    keras.mixed_precision.set_dtype_policy("mixed_float16")

    def make():
        model = tfshed.prune_low_magnitude(net(), schedule(0.75, end=8), threshold=0.0)
        sgd = keras.optimizers.SGD(1e-2, momentum=0.9)
        optimizer = keras.optimizers.LossScaleOptimizer(sgd) if explicit else sgd
        model.compile(optimizer, "mse", run_eagerly=BACKEND == "tensorflow")
        return model

    half, whole = make(), make()
    train(half, epochs=2)
    half.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert int(to_numpy(loaded.optimizer.iterations)) == 4
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(loaded.optimizer.inner_optimizer, tfshed.PruningOptimizer)
    train(loaded, epochs=2)
    train(whole, epochs=4)
    state = lambda m: [*map(to_numpy, m.weights), *map(to_numpy, m.optimizer.variables)]  # noqa: E731
    for a, b in zip(state(loaded), state(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    assert sparsity(loaded) >= 0.74


# Item 2: weights that are older than the masks.
class RestoreFirst(keras.callbacks.Callback):
    """As EarlyStopping(restore_best_weights=True), if the first epoch was the best."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.best = self.model.get_weights()

    def on_train_end(self, logs=None):
        self.model.set_weights(self.best)


def test_strip_never_changes_what_a_model_computes():
    model = tfshed.prune_low_magnitude(net(), schedule(0.75, end=8), scope="global", threshold=0.0)
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=JIT[0])
    with pytest.warns(UserWarning) as told:
        train(model, RestoreFirst(), epochs=5)
        before, outputs = model.get_weights(), array(model(data()[0]))
        table = []
        text = tfshed.summary(model, print_fn=table.append).disagreement
        stripped = tfshed.strip_pruning(model)
    assert any(str(w.message).startswith("strip_pruning") for w in told)
    assert "under the masks are not zero" in text and text in table[0]
    for now, then in zip(stripped.get_weights(), before):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(array(stripped(data()[0])), outputs)


def test_early_stopping_that_restores_weights_is_told_and_training_goes_on_from_them(caplog):
    model = tfshed.prune_low_magnitude(net(), schedule(0.75, end=8), scope="global", threshold=0.0)
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=JIT[0])
    train(model, RestoreFirst(), callback=True, epochs=5)
    sparse = sparsity(model)
    assert 0 < sparse < 0.5
    zeros = [w == 0 for w in kernels(model)]
    with caplog.at_level(logging.INFO, "tfshed"):
        train(model)
    assert "pruning starts again" in caplog.text
    check_zeros(model)
    for w, zero in zip(kernels(model), zeros):
        assert not w[zero].any()


# Item 4: another optimizer steps.
not_jax = pytest.mark.skipif(BACKEND == "jax", reason="an eager loop: JAX's optimizers are pure")


@not_jax
@pytest.mark.parametrize("compiled", [False, True])
def test_the_recipe_of_tfmot_for_loops_of_ones_own(compiled):
    model, optimizer = declared(), keras.optimizers.SGD(0.01, momentum=0.9)
    if compiled:
        model.compile(optimizer, "mse", jit_compile=JIT[0])
    else:
        model.optimizer = optimizer
    callback = tfshed.UpdatePruningStep()
    callback.set_model(model)
    callback.on_train_begin()
    for _ in range(2):
        callback.on_train_batch_begin(batch=-1)
        step_by_hand(model, optimizer, 2)
        callback.on_epoch_end(batch=-1)
    assert sparsity(model) == 0.5
    assert int(to_numpy(optimizer.iterations)) == 4


@not_jax
def test_steps_of_another_optimizer_are_an_error_at_a_later_call():
    model = declared()
    model.compile("sgd", "mse", jit_compile=JIT[0])
    train(model)
    with pytest.raises(RuntimeError, match="under the masks are not zero"):
        step_by_hand(model, keras.optimizers.SGD(0.1), 20)


class Alias(keras.Model):
    """Steps with an optimizer that it holds under a name of its own."""

    def __init__(self, own):
        super().__init__()
        self.hidden, self.head = net().layers
        self.own = own

    def call(self, x):
        return self.head(self.hidden(x))

    def train_step(self, batch):
        x, y = batch
        if BACKEND == "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            grads = tape.gradient(loss, self.trainable_variables)
        else:
            self.zero_grad()
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            loss.backward()
            grads = [v.value.grad for v in self.trainable_variables]
        self.step(grads)
        return {"loss": loss}

    def step(self, grads):
        if BACKEND == "torch":
            import torch

            with torch.no_grad():
                self.own.apply(grads, self.trainable_variables)
        else:
            self.own.apply(grads, self.trainable_variables)


@not_jax
@pytest.mark.parametrize("same", [True, False], ids=["compiled too", "its own"])
def test_a_train_step_with_an_optimizer_of_its_own(same):
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model = Alias(optimizer)
    model.build((None, 6))
    model = tfshed.prune_low_magnitude(model, HALF)
    model.compile(optimizer if same else "sgd", "mse", jit_compile=JIT[0])
    train(model, epochs=2)
    assert sparsity(model) == 0.5
    assert int(to_numpy(optimizer.iterations)) == 4
    stripped = tfshed.strip_pruning(model)
    assert stripped.own is optimizer and pruning_optimizer(stripped.optimizer) is None


@not_jax
def test_an_optimizer_that_nobody_can_find_is_an_error_at_the_end_of_the_epoch():
    hidden = [keras.optimizers.SGD(0.01)]
    model = Alias(None)
    model.step = lambda grads: hidden[0].apply(grads, model.trainable_variables)
    if BACKEND == "torch":
        import torch

        model.step = torch.no_grad()(model.step)
    model.build((None, 6))
    model = tfshed.prune_low_magnitude(model, HALF)
    model.compile("sgd", "mse", jit_compile=JIT[0])
    with pytest.raises(RuntimeError, match=r"took no\s+step"):
        train(model)


class Gan(keras.Model):
    """Two networks, each with an optimizer that steps it alone."""

    def __init__(self):
        super().__init__()
        self.generator, self.critic = net(seed=1), net(seed=2)

    def compile(self, g_optimizer, c_optimizer, **kwargs):
        super().compile(jit_compile=JIT[0], **kwargs)
        self.g_optimizer, self.c_optimizer = g_optimizer, c_optimizer

    def call(self, x):
        return self.generator(x)

    def train_step(self, batch):
        x, y = batch
        for part, optimizer in (
            (self.generator, self.g_optimizer),
            (self.critic, self.c_optimizer),
        ):
            weights = part.trainable_variables
            if BACKEND == "tensorflow":
                import tensorflow as tf

                with tf.GradientTape() as tape:
                    loss = keras.ops.mean((part(x, training=True) - y) ** 2)
                optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
            else:
                import torch

                self.zero_grad()
                loss = keras.ops.mean((part(x, training=True) - y) ** 2)
                loss.backward()
                with torch.no_grad():
                    optimizer.apply([v.value.grad for v in weights], weights)
        return {"loss": loss}


@not_jax
def test_every_optimizer_of_a_model_prunes_what_it_steps():
    gan = Gan()
    gan.generator = tfshed.prune_low_magnitude(gan.generator, HALF)
    gan.critic = tfshed.prune_low_magnitude(gan.critic, tfshed.ConstantSparsity(0.75, 0))
    gan.build((None, 6))
    optimizers = keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.01, momentum=0.9)
    gan.compile(*optimizers)
    train(gan, epochs=2)
    assert sparsity(gan.generator) == 0.5 and sparsity(gan.critic) == 0.75
    assert [int(to_numpy(o.iterations)) for o in optimizers] == [4, 4]
    owners = {owner_of(v).optimizer for v in variables(gan.generator)}
    assert owners == {gan.g_optimizer} and gan.g_optimizer.inner_optimizer is optimizers[0]


# Item 9: moving averages.
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_swapped_averages_are_sparse_in_checkpoints_and_validation(policy, tmp_path):
    keras.mixed_precision.set_dtype_policy(policy)
    model = declared()
    model.compile(
        keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.9), "mse", jit_compile=JIT[0]
    )
    seen = []

    class Look(keras.callbacks.Callback):
        def on_test_end(self, logs=None):
            seen.append(sparsity(self.model))

    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    saver = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True)
    train(model, Look(), swap, saver, epochs=3, validation_data=data(8))
    assert seen == [0.5] * 3
    for epoch in (1, 2, 3):
        model.load_weights(tmp_path / f"{epoch}.weights.h5")
        assert sparsity(model) == 0.5


# Item 14: go on, or start again.
def test_seeds_in_a_loop_start_dense_and_a_new_compile_goes_on(caplog):
    caplog.set_level(logging.INFO, "tfshed")
    model = declared()
    first = model.get_weights()
    model.compile("sgd", "mse", jit_compile=JIT[0])
    train(model)
    model.compile("sgd", "mse", jit_compile=JIT[0])
    ensure_pruning(model)
    assert "continues with the masks of the run before" in caplog.text
    assert all(to_numpy(m).mean() == 0.5 for m in group(model).masks)
    for again in ("compile", "fit"):
        model.set_weights(first)
        if again == "compile":
            model.compile("sgd", "mse", jit_compile=JIT[0])
        caplog.clear()
        ensure_pruning(model)
        assert "pruning starts again" in caplog.text
        assert all(to_numpy(m).all() for m in group(model).masks)
        train(model)
        assert sparsity(model) == 0.5


@pytest.mark.parametrize("start", ["continue", "again"])
def test_the_start_can_be_asked_for(start):
    model = pruned(keras.optimizers.SGD(0.0), final=0.75, threshold=0.01)
    train(model, epochs=4)
    masks, threshold = [to_numpy(m) for m in group(model).masks], to_numpy(group(model).threshold)
    assert threshold > 0.01
    if start == "continue":
        model.set_weights([np.full(w.shape, 2.0) for w in model.get_weights()])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=JIT[0])
    x, y = data(32)
    model.fit(x, y, verbose=0, batch_size=32, callbacks=[tfshed.UpdatePruningStep(start=start)])
    for mask, before in zip(group(model).masks, masks):
        np.testing.assert_array_equal(to_numpy(mask), before)
    check_zeros(model)
    first = np.float32(0.01)
    assert (to_numpy(group(model).threshold) == first) == (start == "again")


def test_a_start_that_is_no_start():
    with pytest.raises(ValueError, match="start: expected one of .* received 'new'"):
        tfshed.UpdatePruningStep(start="new")


# Item 15: zeros that pruning did not make.
def identity_net():
    model = net(hidden=6)
    model.layers[0].kernel.assign(np.eye(6))
    return model


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("monotone", [True, False])
def test_zeros_of_before_are_trained_unless_they_are_to_be_held(held, monotone):
    model = tfshed.prune_low_magnitude(
        identity_net(),
        tfshed.OneShot(0.1, step=100),
        monotone=monotone,
        threshold=0.0,
        hold_zeros=held,
        scope="layer",
    )
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=JIT[0])
    train(model, epochs=2)
    assert np.count_nonzero(kernels(model)[0]) == (6 if held else 36)


def test_zeros_of_before_are_told(caplog):
    caplog.set_level(logging.INFO, "tfshed")
    model = tfshed.prune_low_magnitude(identity_net(), HALF)
    model.compile("sgd", "mse", jit_compile=JIT[0])
    ensure_pruning(model)
    assert "net/hidden/kernel: 30 of 36 weights" in caplog.text


@pytest.mark.skipif(BACKEND != "tensorflow", reason="variables that are made inside of a function")
def test_a_net_that_is_built_in_its_first_step_counts_nothing_shed(recwarn):
    model = keras.Sequential(
        [tfshed.prune_low_magnitude(keras.layers.Dense(4), HALF), keras.layers.Dense(3)]
    )
    model.compile("sgd", "mse", jit_compile=JIT[0])
    train(model)
    kept, scheduled, shed = to_numpy(group(model).counts)[:, 0]
    assert (kept, scheduled, shed) == (12, 12, 0)
    assert not [w for w in recwarn if "all zeros" in str(w.message)]


@keras.saving.register_keras_serializable(package="test_ownership")
class Whole(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.head = keras.layers.Dense(8), keras.layers.Dense(3)

    def build(self, shape):
        self.hidden.build(shape)
        self.head.build((None, 8))

    def call(self, x):
        return self.head(self.hidden(x))


@pytest.mark.parametrize("whole", [False, True], ids=["wrapped", "as a whole"])
def test_what_pruning_took_is_held_in_a_model_that_was_saved_without_its_optimizer(whole, tmp_path):
    model = Whole() if whole else net()
    model.build((None, 6))
    model = tfshed.prune_low_magnitude(model, HALF)
    model.compile("sgd", "mse", jit_compile=JIT[0])
    train(model)
    model.save(tmp_path / "m.keras", include_optimizer=False)
    loaded = keras.models.load_model(tmp_path / "m.keras")
    loaded.compile("sgd", "mse", jit_compile=JIT[0])
    zeros = [w == 0 for w in kernels(loaded)]
    ensure_pruning(loaded)
    assert all((to_numpy(m) == ~z).all() for m, z in zip(group(loaded).masks, zeros))
    train(loaded)
    for w, zero in zip(kernels(loaded), zeros):
        np.testing.assert_array_equal(w == 0, zero)


# Item 19: training that ends too early.
def told(call):
    import warnings

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return [str(w.message) for w in found if issubclass(w.category, tfshed.UnfinishedPruning)]


def test_training_that_ends_before_the_schedule_is_told_once():
    model = tfshed.prune_low_magnitude(net(), schedule(0.75, end=8), scope="global")
    model.compile("sgd", "mse", jit_compile=JIT[0])
    (text,) = told(lambda: train(model))
    assert "schedule ends in step 8" in text and "0.7500" in text
    assert told(lambda: train(model)) == [] == told(lambda: train(model, epochs=2))
    model.compile("sgd", "mse", jit_compile=JIT[0])
    assert told(lambda: train(model, epochs=4)) == []


def test_training_without_any_update_is_told():
    model = tfshed.prune_low_magnitude(net(), tfshed.ConstantSparsity(0.5, 100))
    model.compile("sgd", "mse", jit_compile=JIT[0])
    (text,) = told(lambda: train(model))
    assert "in its 2 steps no pruning update was due" in text


# The rest.
def test_one_callback_warns_for_each_of_two_models():
    callback = tfshed.UpdatePruningStep()
    for _ in range(2):
        model = declared(threshold=0.0)
        model.compile("sgd", "mse", jit_compile=JIT[0])
        model.layers[0].layer.kernel.assign(np.zeros((6, 8)))
        ensure_pruning(model)
        group(model).masks[0].assign(np.zeros((6, 8), bool))
        x, y = data(16)
        with pytest.warns(UserWarning, match="nothing is left of net/hidden/kernel"):
            model.fit(x, y, verbose=0, callbacks=[callback])


def test_small_errors():
    with pytest.raises(ValueError, match="prune: expected a model.*an empty list"):
        tfshed.PruningOptimizer("sgd", [])
    with pytest.raises(ValueError, match="monotone: expected True or False, received None"):
        tfshed.prune_low_magnitude(net(), HALF, monotone=None)
    with pytest.raises(TypeError, match="^model: expected"):
        tfshed.strip_pruning(3)
