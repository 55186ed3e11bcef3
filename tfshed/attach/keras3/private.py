"""The private parts of Keras 3 that tfshed uses, each in one small function.

A version of Keras that changes one of them fails in the test of that function, in
tests/attach/keras3/test_private.py. Nothing else in tfshed imports `keras.src` or names a private
attribute of a Keras object; tests/test_house.py sees to that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.backend.config import keras_home
from keras.src.layers.merging.base_merge import Merge
from keras.src.models.functional import Functional
from keras.src.ops import nn as nn_operations
from keras.src.ops import numpy as numpy_operations
from keras.src.utils import tracking
from keras.src.utils.naming import to_snake_case

# Objects and their attributes.


def set_untracked(target: Any, **attributes: Any) -> None:
    """Sets attributes of a layer, model or optimizer without Keras' tracking.

    Keras saves every variable, layer and list that is set on one of its objects in the usual way,
    and walks through it when weights are loaded. What is set here it does not see.
    """
    for name, value in attributes.items():
        object.__setattr__(target, name, value)


def layout_like(variable: Any, shape: Any) -> Any:
    """The layout over devices for an array that goes with a variable; None without one.

    Keras gives every variable the layout that its path has in the `LayoutMap`, and slots of
    optimizers that of their variable. An axis of the array that its devices do not divide is whole
    on each of them. A variable without a layout, and an array of another rank, have None.
    """
    layout: Any = getattr(variable, "_layout", None)
    axes: Any = getattr(layout, "axes", None)
    if layout is None or axes is None or len(axes) != len(shape) or not any(axes):
        return None
    mesh = layout.device_mesh
    count = dict(zip(mesh.axis_names, mesh.shape))
    fitting = [
        name if name is not None and size % count[name] == 0 else None
        for name, size in zip(axes, shape)
    ]
    return keras.distribution.TensorLayout(fitting, mesh)


def delete_untracked(target: Any, *names: str) -> None:
    """Takes attributes set by `set_untracked` away; those that are not there are passed over."""
    for name in names:
        if name in vars(target):
            object.__delattr__(target, name)


def untracked(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method in which Keras tracks nothing that is set on the object, as a decorator."""
    decorated: Callable[..., Any] = tracking.no_automatic_dependency_tracking(method)
    return decorated


# Layers and models.


def layers_in(model: Any, include_self: bool = True, recursive: bool = True) -> Iterator[Any]:
    """The layers of a model or layer, nested ones too.

    Args:
        model: a Keras model or layer.
        include_self: whether it is the first of them.
        recursive: whether layers of layers are among them; False: only those it holds itself.
    """
    return iter(model._flatten_layers(include_self=include_self, recursive=recursive))


def layers_if_any(model: Any) -> Iterator[Any]:
    """The layers of a model of either Keras; none for other objects, such as a `tf.Module`."""
    return layers_in(model) if hasattr(model, "_flatten_layers") else iter(())


def own_weights(layer: Any) -> list[Any]:
    """The variables that the layer itself made to be trained, frozen ones too."""
    return list(layer._trainable_variables)


def own_state(layer: Any) -> list[Any]:
    """The variables that the layer itself made with `trainable=False`, such as statistics."""
    return list(layer._non_trainable_variables)


def is_functional(model: Any) -> bool:
    """Whether a model is a graph of layers, or of a subclass of such models."""
    return isinstance(model, Functional)


def is_plain_functional(model: Any) -> bool:
    """Whether a model is a graph of layers and of no subclass, which may have its own `call`."""
    return type(model) is Functional


def graph_of(model: Any) -> Any:
    """The functional model inside of a built Sequential one; any other model or layer itself.

    Returns:
        None for a Sequential model that is not built.
    """
    return getattr(model, "_functional", model)


def nodes_of(functional: Any) -> Iterator[Any]:
    """The nodes of a functional model, those of its inputs first and in the order of calls."""
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        yield from functional._nodes_by_depth[depth]


def operation_of(tensor: Any) -> Any:
    """The layer or operation that made a symbolic tensor."""
    return tensor._keras_history.operation


def is_merge(layer: Any) -> bool:
    """Whether a layer merges several tensors, as `Add` and `Concatenate` do."""
    return isinstance(layer, Merge)


def operation_classes(*names: str) -> list[type]:
    """The classes of the operations that `keras.ops` functions become in a functional model.

    Args:
        names: such as "Add" or "Relu". Those that this version of Keras lacks are left out.
    """
    modules = (nn_operations, numpy_operations)
    return [getattr(module, name) for name in names for module in modules if hasattr(module, name)]


def snake_case(name: str) -> str:
    """The name that Keras gives to the first layer of a class: `max_pooling2d`."""
    return str(to_snake_case(name))


def home() -> str:
    """The folder in which Keras keeps downloaded files."""
    return str(keras_home())


# Calls.


def call_context() -> Any:
    """The context of the outermost layer that is being called now; None if none is.

    It has `entry_layer` and `get_value(name)` for arguments that Keras passes on, as `training`.
    """
    return global_state.get_global_attribute("current_call_ctx")


def trains_by_default(layer: Any) -> bool:
    """Whether the `call` of a layer has `training=True` as default, as some preprocessing has."""
    return bool(
        layer._call_has_training_arg
        and layer._call_signature.parameters["training"].default is True
    )


def take_inputs_like(layer: Any, other: Any) -> None:
    """Makes a layer convert and check the arguments of its calls as another layer does."""
    layer._convert_input_args = other._convert_input_args
    layer._allow_non_tensor_positional_args = other._allow_non_tensor_positional_args


# Training.


def model_of(callback: Any) -> Any:
    """The model of a callback, without its state.

    On JAX `callback.model` copies the state out of the running step into the model, which costs
    the more the larger the model is. What was compiled can be looked at without.
    """
    return callback._model


def variable_key(optimizer: Any, variable: Any) -> Any:
    """What an optimizer knows a variable by: it may get variables of another order or backend."""
    return optimizer._var_key(variable)


def made_by(optimizer: Any) -> list[Any]:
    """The variables that an optimizer made itself, in the order in which they are saved."""
    return list(optimizer._variables)


def trained_by(optimizer: Any) -> list[Any]:
    """The variables that an optimizer was built with."""
    return list(optimizer._trainable_variables)


def steps_begun(optimizer: Any) -> int:
    """The batches that an optimizer was given, also those of an accumulation under way."""
    return int(keras.ops.convert_to_numpy(optimizer._iterations))


def replace_compiled_optimizer(model: Any, optimizer: Any) -> None:
    """Puts an optimizer in the place of the compiled one, also in what `.keras` files hold."""
    model.optimizer = optimizer
    model._compile_config.config["optimizer"] = optimizer


def build_by_shapes(model: Any, batch: Any) -> None:
    """Builds a compiled model with its metrics and optimizer, from the shapes of a batch alone."""
    model._symbolic_build(data_batch=batch)


@contextlib.contextmanager
def tracking_attributes(on: bool) -> Iterator[None]:
    """Within the block, variables assigned to attributes of an optimizer are tracked, or not.

    Keras switches it off while a `LossScaleOptimizer` builds the optimizer inside of it.
    """
    before = global_state.get_global_attribute("tracking_on", True)
    global_state.set_global_attribute("tracking_on", on)
    try:
        yield
    finally:
        global_state.set_global_attribute("tracking_on", before)


def track_attributes(optimizer: Any) -> None:
    """Tracks variables of a built optimizer that lie in its attributes and are not tracked yet.

    Nadam and Adafactor make variables by plain assignment, which Keras does not see while it
    builds them inside of a `LossScaleOptimizer`: they would not be saved, and JAX would take their
    first values for constants.
    """
    known = {id(v) for v in [*optimizer._variables, *optimizer._trainable_variables]}
    for value in list(vars(optimizer).values()):
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(each, keras.Variable) and id(each) not in known:
                known.add(id(each))
                optimizer._track_variable(each)


def untrack(optimizer: Any, variable: Any) -> None:
    """Takes a variable out of an optimizer's state; Keras can only add."""
    optimizer._untrack_variable(variable)


def averages_list(optimizer: Any) -> Any:
    """The list of moving averages of an optimizer with `use_ema=True`.

    Raises:
        AttributeError: it has none, or is not built.
    """
    return optimizer._model_variables_moving_average


def moving_averages(optimizer: Any) -> list[tuple[Any, Any]]:
    """Pairs of a variable and its moving average, of an optimizer and those in a MultiOptimizer."""
    found = []
    for each in (optimizer, *getattr(optimizer, "optimizers", ())):
        if getattr(each, "use_ema", False) and each.built:
            pairs = zip(each._trainable_variables, averages_list(each))
            found += [(v, average) for v, average in pairs if average is not None]
    return found


def built_with(optimizer: Any) -> list[Any]:
    """The variables that a built optimizer steps."""
    return list(optimizer._trainable_variables)


def replace_saved_optimizer(model: Any, old: Any, new: Any) -> None:
    """Makes `.keras` save `new` where the arguments of `compile` have `old`.

    A model whose optimizer was set without `compile` has no such arguments.
    """
    arguments = getattr(model, "_compile_config", None)
    if arguments is not None and arguments.config.get("optimizer") is old:
        arguments.config["optimizer"] = new


# Variables.


def backend_value(variable: Any) -> Any:
    """What holds the value of a variable on its backend, such as a `tf.Variable`."""
    return variable._value


def put_backend_value(variable: Any, value: Any) -> None:
    """Replaces what holds the value of a variable on its backend."""
    variable._value = value


def source_of(tensor: Any) -> tuple[Any, list[Any]]:
    """The layer or operation that a symbolic tensor comes from, and the tensors this was given."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, list(node.input_tensors)


def copy_input_shape(source: Any, target: Any) -> None:
    """Passes a layer's argument `input_shape` on, from which a Sequential model has its input."""
    if getattr(source, "_input_shape_arg", None) is not None:
        target._input_shape_arg = source._input_shape_arg


def set_class(model: Any, kind: type) -> None:
    """Makes a model an object of another class, which has the same attributes."""
    object.__setattr__(model, "__class__", kind)
