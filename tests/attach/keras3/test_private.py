"""The private parts of Keras 3 are as tfshed expects them: a test for each function."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

from tests.nets import array
from tfshed.attach.keras3 import private

pytestmark = pytest.mark.backend


def nested():
    """An inner Sequential model of one Dense layer, and a functional one around it."""
    inner = keras.Sequential([keras.Input((4,)), L.Dense(3, name="deep")], name="inner")
    inputs = keras.Input((4,), name="in")
    merged = L.Add(name="sum")([inner(inputs), L.Dense(3, name="flat")(inputs)])
    return keras.Model(inputs, merged, name="outer"), inner


def test_every_function_has_a_test_here():
    functions = [f for _, f in inspect.getmembers(private, inspect.isfunction)]
    made = {f.__name__ for f in functions if f.__module__ == private.__name__}
    tree = ast.parse(Path(__file__).read_text())
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert made <= named and len(made) > 20


def test_attributes_that_keras_does_not_track():
    layer = L.Dense(2)
    private.set_untracked(layer, note=keras.Variable([1.0]), inner=L.Dense(3))
    assert layer.note.shape == (1,) and layer.inner.units == 3
    assert not layer.variables and not [*private.layers_in(layer, include_self=False)]
    private.delete_untracked(layer, "note", "never there")
    assert not hasattr(layer, "note") and hasattr(layer, "inner")


def test_a_method_in_which_keras_tracks_nothing():
    class Holder(L.Layer):
        @private.untracked
        def hide(self):
            self.hidden = L.Dense(3)

        def show(self):
            self.shown = L.Dense(3)

    holder = Holder()
    holder.hide()
    holder.show()
    assert [*private.layers_in(holder, include_self=False)] == [holder.shown]


def test_layers_of_models():
    outer, inner = nested()
    assert next(private.layers_in(outer)) is outer
    names = [layer.name for layer in private.layers_in(outer, include_self=False)]
    assert set(names) >= {"in", "inner", "deep", "flat", "sum"}
    flat = [x.name for x in private.layers_in(outer, include_self=False, recursive=False)]
    assert "inner" in flat and "deep" not in flat
    assert [*private.layers_if_any(inner)] == [*private.layers_in(inner)]
    assert [*private.layers_if_any(object())] == []


def test_variables_that_a_layer_made_itself():
    norm = L.BatchNormalization()
    norm.build((None, 4))
    norm.trainable = False
    assert [v.name for v in private.own_weights(norm)] == ["gamma", "beta"]
    assert [v.name for v in private.own_state(norm)] == ["moving_mean", "moving_variance"]
    outer, _ = nested()
    assert not private.own_weights(outer) and not private.own_state(outer)


def test_kinds_of_models():
    class Own(keras.Model):
        pass

    outer, inner = nested()
    inputs = keras.Input((4,))
    subclassed = Own(inputs, L.Dense(2)(inputs))
    assert [private.is_functional(m) for m in (outer, subclassed)] == [True, True]
    assert [private.is_plain_functional(m) for m in (outer, subclassed, inner)] == [
        True,
        False,
        False,
    ]
    assert not private.is_functional(L.Dense(2))
    graph = private.graph_of(inner)
    assert private.is_functional(graph) and graph.layers[-1].name == "deep"
    assert private.graph_of(outer) is outer
    assert private.graph_of(keras.Sequential([L.Dense(2)])) is None


def test_the_graph_of_a_model():
    outer, _ = nested()
    nodes = [*private.nodes_of(outer)]
    operations = [node.operation.name for node in nodes]
    assert operations[0] == "in" and operations[-1] == "sum"
    assert sorted(operations) == ["flat", "in", "inner", "sum"]
    # What tfshed reads of a node.
    last = nodes[-1]
    assert nodes[0].is_input and not last.is_input
    assert [len(last.input_tensors), len(last.output_tensors), len(last.outputs)] == [2, 1, 1]
    assert len(last.arguments.keras_tensors) == 2 and last.arguments.kwargs == {}
    assert private.operation_of(outer.output).name == "sum"


def test_classes_of_layers_and_operations():
    assert private.is_merge(L.Concatenate()) and not private.is_merge(L.Dense(2))
    inputs = keras.Input((4,))
    made = ops.relu(ops.multiply(inputs, 2.0))
    relu, product = private.operation_classes("Relu", "NoSuchOperation", "Multiply")
    assert type(private.operation_of(made)) is relu and product.__name__ == "Multiply"


def test_names_and_folders():
    assert private.snake_case("MaxPooling2D") == "max_pooling2d"
    assert L.MaxPooling2D().name.startswith("max_pooling2d")
    assert private.home() and isinstance(private.home(), str)


def test_the_context_of_a_call():
    seen = []

    class Looks(L.Layer):
        def call(self, x):
            context = private.call_context()
            seen.append((context.entry_layer.name, context.get_value("training")))
            return x

    assert private.call_context() is None
    model = keras.Sequential([keras.Input((2,)), Looks()], name="whole")
    seen.clear()
    model(np.ones((1, 2), "float32"), training=True)
    assert seen == [("whole", True)] and private.call_context() is None


def test_what_layers_take():
    assert private.trains_by_default(L.RandomFlip())
    assert not any(private.trains_by_default(x) for x in (L.Dropout(0.5), L.Dense(2)))

    class Takes(L.Layer):
        def __init__(self):
            super().__init__()
            self._convert_input_args = False
            self._allow_non_tensor_positional_args = True

        def call(self, x):
            return type(x).__name__

    class Like(Takes):
        def __init__(self):
            L.Layer.__init__(self)

    layer = Like()
    private.take_inputs_like(layer, Takes())
    # Neither made a tensor nor refused.
    assert layer([1, 2]) in ("list", "TrackedList")


def test_training():
    model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    optimizer = keras.optimizers.SGD(0.0, gradient_accumulation_steps=2)
    optimizer.build(model.trainable_variables)
    for _ in range(3):
        optimizer.apply([ops.zeros(v.shape) for v in model.trainable_variables])
    assert private.steps_begun(optimizer) == 3 and int(array(optimizer.iterations)) == 1
    model.compile("adam", "mse")
    private.replace_compiled_optimizer(model, keras.optimizers.SGD(0.5))
    assert model.optimizer.learning_rate == 0.5
    assert model.get_compile_config()["optimizer"]["class_name"] == "SGD"


def test_building_by_shapes():
    model = keras.Sequential([L.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    x, y = (keras.KerasTensor((4, n), "float32") for n in (3, 1))
    private.build_by_shapes(model, (x, y))
    assert model.built and model.optimizer.built and model.layers[0].kernel.shape == (3, 1)


def test_what_holds_the_value_of_a_variable():
    one, two = keras.Variable([1.0, 2.0]), keras.Variable([3.0, 4.0])
    private.put_backend_value(one, private.backend_value(two))
    assert array(one).tolist() == [3.0, 4.0]


def test_where_a_tensor_comes_from():
    outer, inner = nested()
    merged, (first, second) = private.source_of(outer.outputs[0])
    assert merged.name == "sum"
    assert private.source_of(first)[0] is inner
    assert private.source_of(second)[0].name == "flat"


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")
def test_the_input_shape_of_a_first_layer():
    first, other = L.Dense(2, input_shape=(3,)), L.Dense(2)
    private.copy_input_shape(other, first)
    assert not keras.Sequential([other]).built
    private.copy_input_shape(first, other)
    assert keras.Sequential([other]).input_shape == (None, 3)


def test_the_class_of_a_model():
    _, model = nested()
    own = type(model)
    private.set_class(model, type("Other", (own,), {"said": "other"}))
    assert model.said == "other" and type(model).__name__ == "Other"
    private.set_class(model, own)
    assert type(model) is own


def test_variables_that_an_optimizer_makes_by_plain_assignment():
    model = nested()[1]
    for on in (True, False):
        optimizer = keras.optimizers.Nadam()
        with private.tracking_attributes(on):
            optimizer.build(model.trainable_variables)
        assert any(v is optimizer._u_product for v in optimizer.variables) == on
        private.track_attributes(optimizer)
        private.track_attributes(optimizer)
        assert sum(v is optimizer._u_product for v in optimizer.variables) == 1
    assert private.built_with(optimizer) == model.trainable_variables


def test_a_variable_leaves_the_state_of_an_optimizer():
    optimizer = keras.optimizers.SGD()
    before = len(optimizer.variables)
    variable = optimizer.add_variable((2,), name="more")
    assert len(optimizer.variables) == before + 1
    private.untrack(optimizer, variable)
    assert len(optimizer.variables) == before


def test_moving_averages():
    variables = nested()[1].trainable_variables
    plain, averaged = keras.optimizers.SGD(), keras.optimizers.SGD(use_ema=True)
    assert private.moving_averages(averaged) == []
    for optimizer in (plain, averaged):
        optimizer.build(variables)
    assert private.moving_averages(plain) == []
    pairs = private.moving_averages(averaged)
    assert [id(v) for v, _ in pairs] == [id(v) for v in variables]
    assert [id(a) for _, a in pairs] == [id(a) for a in private.averages_list(averaged)]
    with pytest.raises(AttributeError):
        private.averages_list(plain)


def test_the_optimizer_that_is_saved():
    model, first, other = nested()[1], keras.optimizers.SGD(), keras.optimizers.Adam()
    model.optimizer = other
    private.replace_saved_optimizer(model, first, other)
    model.compile(first, "mse")
    for old, saved in ((other, "SGD"), (first, "Adam")):
        private.replace_saved_optimizer(model, old, other)
        assert model.get_compile_config()["optimizer"]["class_name"] == saved


def test_what_an_optimizer_holds():
    model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    assert [id(v) for v in private.trained_by(optimizer)] == [
        id(v) for v in model.trainable_variables
    ]
    made = private.made_by(optimizer)
    assert [id(v) for v in made] == [id(v) for v in optimizer.variables]
    keys = {private.variable_key(optimizer, v) for v in model.trainable_variables}
    assert len(keys) == 2
    assert private.variable_key(optimizer, model.layers[0].kernel) in keys
    assert private.variable_key(optimizer, keras.Variable([1.0])) not in keys


def test_the_model_of_a_callback():
    callback, model = keras.callbacks.Callback(), keras.Sequential([L.Dense(1)])
    callback.set_model(model)
    assert private.model_of(callback) is model


def test_the_layout_of_what_goes_with_a_variable():
    class Spread:
        """Stands for a variable over two devices, which only JAX has here."""

        mesh = keras.distribution.DeviceMesh((2,), ["model"], ["cpu:0", "cpu:1"])
        _layout = keras.distribution.TensorLayout(("model", None), mesh)

    assert private.layout_like(Spread(), (4, 3)).axes == ("model", None)
    assert private.layout_like(Spread(), (3, 4)).axes == (None, None)  # 3 rows are not divided
    assert private.layout_like(Spread(), (4,)) is None
    variable = keras.Variable([1.0])
    assert private.layout_like(variable, (1,)) is None
    if keras.backend.backend() == "jax":
        assert hasattr(variable, "_layout")
