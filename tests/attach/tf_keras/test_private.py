"""The private parts of tf_keras and tfmot are as tfshed expects them: a test for each function."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.attach.tf_keras.nets import L, data, net, tf_keras
from tfshed.attach.tf_keras import private
from tfshed.attach.tf_keras.real import prune_registry


def test_every_function_has_a_test_here():
    functions = [f for _, f in inspect.getmembers(private, inspect.isfunction)]
    made = {f.__name__ for f in functions if f.__module__ == private.__name__}
    tree = ast.parse(Path(__file__).read_text())
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert made <= named and len(made) > 10


def test_attributes_that_tf_keras_does_not_track():
    layer = L.Dense(2)
    private.set_untracked(layer, note=tf.Variable([1.0]), inner=[L.Dense(3)])
    assert type(layer.inner) is list and not layer.variables
    assert [*private.layers_in(layer, include_self=False)] == []


def test_layers_of_models():
    inner = net()
    outer = tf_keras.Sequential([tf_keras.Input((6,)), inner])
    assert next(private.layers_in(outer)) is outer
    assert {x.name for x in private.layers_in(outer)} >= {"a", "norm", "b", inner.name}
    flat = [*private.layers_in(outer, include_self=False, recursive=False)]
    assert inner in flat and inner.layers[0] not in flat

    class Own(tf_keras.Model):
        pass

    assert private.is_functional(outer) and not private.is_functional(Own())


def test_optimizers_that_a_model_holds():
    class Own(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = tf_keras.optimizers.SGD(), [tf_keras.optimizers.legacy.Adam()]
            self.three = {"d": tf_keras.optimizers.Adam()}
            self.part = net()

    model = Own()
    model.part.compile("rmsprop")
    scaled = tf_keras.mixed_precision.LossScaleOptimizer(model.one)
    model.compile(scaled)
    found = private.optimizers_in(model)
    assert found[0] is scaled
    # The one inside of another steps with it.
    assert {id(x) for x in found} == {
        id(x) for x in (scaled, model.two[0], model.three["d"], model.part.optimizer)
    }
    assert private.optimizers_in(net()) == []


def test_variables_that_a_layer_made_itself():
    norm = L.BatchNormalization()
    norm.build((None, 4))
    norm.trainable = False
    assert [v.name.split(":")[0] for v in private.own_weights(norm)] == ["gamma", "beta"]
    names = [v.name.split(":")[0] for v in private.own_state(norm)]
    assert names == ["moving_mean", "moving_variance"]


def test_what_layers_take():
    assert private.takes_training(L.Dropout(0.5)) and not private.takes_training(L.Dense(2))
    assert private.takes_mask(L.LSTM(2)) and not private.takes_mask(L.Dense(2))


def test_calls_that_only_save(tmp_path):
    seen = []

    class Looks(L.Layer):
        def call(self, x):
            seen.append(private.is_saving())
            return x

    model = tf_keras.Sequential([tf_keras.Input((2,)), Looks()])
    model(np.ones((1, 2), "float32"))
    assert not any(seen)
    model.save(tmp_path / "model")
    assert seen[-1]


def test_batches_of_a_fit():
    seen = []

    class Looks(tf_keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(private.batches_trained(self.model))

        def on_epoch_end(self, epoch, logs=None):
            seen.append(private.batches_trained(self.model))

    model = net()
    model.compile("sgd", "mse", run_eagerly=True)
    for _ in range(2):
        model.fit(*data(), batch_size=32, verbose=0, callbacks=[Looks()])
    assert seen == [0, 2, 0, 2]


def test_the_input_shape_of_a_first_layer():
    first, other = L.Dense(2, input_shape=(6,)), L.Dense(3)
    private.copy_input_shape(first, other)
    assert tf_keras.Sequential([other]).input_shape == (None, 6)
    private.copy_input_shape(L.Dense(2, input_shape=(5,)), other)
    assert tf_keras.Sequential([other]).input_shape == (None, 6)


def test_tfmots_registry():
    assert private.never_has_kernels(L.ReLU()) and not private.never_has_kernels(L.Dense(2))
    theirs, ours = L.Dense(2), L.Dense(2)
    prune_registry.PruneRegistry.make_prunable(theirs)
    ours.get_prunable_weights = list
    assert private.made_by_tfmots_registry(theirs.get_prunable_weights)
    assert not private.made_by_tfmots_registry(ours.get_prunable_weights)


def test_logs_that_one_callback_adds_reach_the_next():
    @private.take_logs_as_they_are
    class Adds(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["added"] = 3.0

    model = net()
    model.compile("sgd", "mse", run_eagerly=True)
    assert model.fit(*data(), verbose=0, callbacks=[Adds()]).history["added"] == [3.0]


def test_where_a_tensor_comes_from():
    inputs = tf_keras.Input((3,))
    head = L.Dense(2)
    outputs = head(inputs)
    layer, (given,) = private.source_of(outputs)
    assert layer is head and given is inputs
    assert private.is_symbolic(outputs) and not private.is_symbolic(tf.ones(2))
