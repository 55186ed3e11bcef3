"""Everything that a user may do with a pruned model, in any order (a hypothesis state machine).

The rules are what users do: declare, compile, fit with callbacks in any order, freeze, thaw, take
steps of their own, set and restore weights, save, load, hold zeros, strip. The invariants are what
tfshed promises whatever they do:

* after a `fit` that pruned, weights under a mask are exactly zero;
* a target that the schedule has reached is met, or a warning says that it is not;
* stripping and saving change no output;
* what cannot be done is an error that leaves weights and optimizer as they were.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tfshed
from tests.nets import BACKEND, array
from tfshed.attach.keras3.optimizer import pruning_optimizer

pytestmark = pytest.mark.backend

X = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")
Y = np.random.default_rng(1).normal(size=(16, 4)).astype("float32")
BATCH = 4  # four steps an epoch

SCHEDULES = {
    "once": lambda: tfshed.OneShot(0.5, step=2),
    "at once": lambda: tfshed.ConstantSparsity(0.5, 0, frequency=1),
    "linear": lambda: tfshed.LinearDecay(0.75, end_step=6, frequency=2),
    "exponential": lambda: tfshed.ExponentialDecay(0.75, 2.0, end_step=5, frequency=1),
}
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.001),
    "nadam": lambda: keras.optimizers.Nadam(0.001),
    "clipped": lambda: keras.optimizers.SGD(0.01, global_clipnorm=1.0),
    "averaged": lambda: keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.5),
}
GRANULARITIES = {"single": None, "block": tfshed.Block(4, 1), "2:4": tfshed.NxM(2, 4)}


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """A model with a `call` of its own, which tfshed marks instead of wrapping its layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(8, activation="relu", name="first")
        self.second = keras.layers.Dense(8, activation="relu", name="second")
        self.head = keras.layers.Dense(4, name="head")

    def call(self, x):
        return self.head(self.second(self.first(x)))


def plain(kind, dtype):
    keras.utils.set_random_seed(0)
    with precision(dtype):
        if kind == "subclassed":
            model = Subclassed(name="net")
            model(X)
            return model
        layers = [
            keras.layers.Dense(8, activation="relu", name="first"),
            keras.layers.Dense(8, activation="relu", name="second"),
            keras.layers.Dense(4, name="head"),
        ]
        if kind == "sequential":
            return keras.Sequential([keras.Input((8,)), *layers], name="net")
        x = inputs = keras.Input((8,))
        for layer in layers:
            x = layer(x)
        return keras.Model(inputs, x, name="net")


@contextlib.contextmanager
def precision(dtype):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def inner(layer):
    return getattr(layer, "layer", layer)


class PrunedModel(RuleBasedStateMachine):
    @initialize(
        kind=st.sampled_from(["sequential", "functional", "subclassed"]),
        dtype=st.sampled_from(["float32", "float32", "mixed_float16"]),
        schedule=st.sampled_from(sorted(SCHEDULES)),
        scope=st.sampled_from(["global", "layer"]),
        criterion=st.sampled_from(["magnitude", "random"]),
        granularity=st.sampled_from(sorted(GRANULARITIES)),
        monotone=st.sampled_from([True, True, False]),
    )
    def declare(self, kind, dtype, schedule, scope, criterion, granularity, monotone):
        keras.backend.clear_session()
        if granularity == "2:4":
            criterion = "magnitude"
        self.dtype = dtype
        self.schedule = SCHEDULES[schedule]()
        self.net = plain(kind, dtype)
        self.dense = self.net.get_weights()
        before = self.outputs(self.net)
        self.model = tfshed.prune_low_magnitude(
            self.net,
            self.schedule,
            scope=scope,
            criterion=criterion,
            granularity=GRANULARITIES[granularity],
            monotone=monotone,
        )
        np.testing.assert_array_equal(self.outputs(self.model), before)
        self.compiled = self.stale = False
        self.just_pruned = False
        self.saved: list[list[np.ndarray]] = []
        self.steps = 0

    # What one can look at.

    def outputs(self, model):
        return array(model(X, training=False))

    def kernels(self):
        return [v for v in self.model.variables if v.name == "kernel"]

    def groups(self):
        found = pruning_optimizer(getattr(self.model, "optimizer", None))
        return found.groups if found is not None and found.built else []

    def sparsity(self):
        trained = [v for v in self.kernels() if v.trainable]
        zeros = sum(int((array(v) == 0).sum()) for v in trained)
        return zeros / max(1, sum(int(np.prod(v.shape)) for v in trained))

    def weights(self):
        return [array(v) for v in self.model.variables]

    # What one can do.

    @rule(optimizer=st.sampled_from(sorted(OPTIMIZERS)))
    def compile(self, optimizer):
        with precision(self.dtype):
            self.model.compile(OPTIMIZERS[optimizer](), "mse", run_eagerly=BACKEND != "jax")
        self.compiled, self.stale, self.steps = True, False, 0

    @precondition(lambda self: self.compiled)
    @rule(
        epochs=st.integers(1, 3),
        others=st.lists(
            st.sampled_from(["keep_ratio", "restore", "keep_zeros", "average"]),
            unique=True,
            max_size=2,
        ),
        place=st.integers(0, 2),
    )
    def fit(self, epochs, others, place):
        optimizer = self.model.optimizer
        averaged = getattr(optimizer, "inner_optimizer", optimizer)
        averaged = getattr(averaged, "inner_optimizer", averaged)
        if not getattr(averaged, "use_ema", False):
            others = [name for name in others if name != "average"]
        made = {
            "keep_ratio": lambda: tfshed.KeepRatio(),
            "restore": lambda: keras.callbacks.EarlyStopping(
                monitor="loss", patience=0, restore_best_weights=True, start_from_epoch=0
            ),
            "keep_zeros": lambda: tfshed.KeepZeros(),
            "average": lambda: keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        }
        callbacks = [made[name]() for name in others]
        callbacks.insert(min(place, len(callbacks)), tfshed.UpdatePruningStep())
        event("fit with " + ", ".join(type(c).__name__ for c in callbacks))
        before = self.weights()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                history = self.model.fit(
                    X, Y, BATCH, epochs, verbose=0, callbacks=callbacks, shuffle=False
                )
            except (ValueError, RuntimeError) as error:
                event(f"error: {type(error).__name__}")
                assert "expected" in str(error) or "prune" in str(error), error
                for old, new in zip(before, self.weights()):
                    np.testing.assert_array_equal(old, new)
                return
        self.steps += 4 * len(history.epoch)
        self.just_pruned = "restore" not in others
        self.told = [str(each.message) for each in told]
        done = self.steps >= 6
        target = tfshed_target(self.groups())
        if self.just_pruned and done and target is not None and not self.told:
            assert self.sparsity() >= target - 1e-6, (self.sparsity(), target)

    @rule(name=st.sampled_from(["first", "second"]))
    def freeze(self, name):
        self._set_trainable(name, False)

    @rule(name=st.sampled_from(["first", "second"]))
    def thaw(self, name):
        self._set_trainable(name, True)

    def _set_trainable(self, name, value):
        for layer in self.model._flatten_layers(include_self=False):
            if layer.name == name and not hasattr(layer, "layer"):
                if layer.trainable != value:
                    self.stale = self.compiled
                layer.trainable = value
        # Keras: a change of `trainable` counts from the next compile on.
        self.compiled = self.compiled and not self.stale

    @rule()
    def keep_weights(self):
        self.saved.append(self.model.get_weights())

    @precondition(lambda self: self.saved)
    @rule(last=st.booleans())
    def restore_weights(self, last):
        self.model.set_weights(self.saved[-1 if last else 0])
        self.just_pruned = False

    @rule()
    def start_again(self):
        self.model.set_weights(self.dense)
        self.just_pruned = False

    @rule()
    def save_and_load(self):
        before, masks = self.outputs(self.model), [array(m) for g in self.groups() for m in g.masks]
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = os.path.join(folder, "model.keras")
            self.model.save(path)
            with precision(self.dtype):
                self.model = keras.models.load_model(path)
        np.testing.assert_array_equal(self.outputs(self.model), before)
        if masks and self.compiled:
            self.model.optimizer.build(self.model.trainable_variables)
            found = [array(m) for g in self.groups() for m in g.masks]
            for one, other in zip(masks, found, strict=True):
                np.testing.assert_array_equal(one, other)

    @rule()
    def strip(self):
        before = self.outputs(self.model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stripped = tfshed.strip_pruning(self.model)
        np.testing.assert_array_equal(self.outputs(stripped), before)
        # On with the same net, declared anew.
        self.model = tfshed.prune_low_magnitude(stripped, self.schedule)
        np.testing.assert_array_equal(self.outputs(self.model), before)
        self.compiled = self.just_pruned = False

    @rule()
    def look(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = tfshed.summary(self.model, print_fn=lambda text: None)
        zeros = sum(int((array(v) == 0).sum()) for v in self.kernels())
        assert sum(row.weights - row.nonzero for row in found.rows) == zeros

    @invariant()
    def weights_are_finite(self):
        if hasattr(self, "model"):
            assert all(np.isfinite(array(v)).all() for v in self.kernels())

    @invariant()
    def zeros_are_exact(self):
        if not getattr(self, "just_pruned", False):
            return
        for group in self.groups():
            for i, kernel in enumerate(group.kernels):
                mask = array(group.mask_of(i))
                assert not array(kernel.variable)[~mask].any(), kernel.path


def tfshed_target(groups):
    """The sparsity over all groups that their targets come to; None where nothing is pruned."""
    if not groups or any(isinstance(g.config.granularity, tfshed.NxM) for g in groups):
        return None
    total = sum(int(g.totals.sum()) for g in groups)
    kept = sum(float(array(g.target)) * int(g.totals.sum()) for g in groups)
    return 1.0 - kept / total - 1.0 / total


EXAMPLES = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    # No shrinking: an example is short as it is, and shrinking one takes minutes.
    phases=[Phase.generate],
)


def test_any_order():
    run_state_machine_as_test(
        PrunedModel, settings=settings(EXAMPLES, max_examples=8, stateful_step_count=8)
    )


@pytest.mark.slow
def test_any_order_for_long():
    run_state_machine_as_test(
        PrunedModel, settings=settings(EXAMPLES, max_examples=150, stateful_step_count=12)
    )
