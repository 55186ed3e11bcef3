"""The private parts of tf_keras and tfmot that tfshed uses, each in one small function.

A version of either that changes one of them fails in the test of that function, in
tests/attach/tf_keras/test_private.py. Nothing else in tfshed names a private attribute of tf_keras
or tfmot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tf_keras.src.engine.base_layer_utils import call_context

from tfshed.attach.tf_keras.real import prune_registry, tf_keras


def set_untracked(target: Any, **attributes: Any) -> None:
    """Sets attributes of a layer or model without tf_keras' tracking.

    tf_keras saves every variable, layer and list that is set on a layer in the usual way, and
    wraps lists and dicts. What is set here it does not see.
    """
    for name, value in attributes.items():
        object.__setattr__(target, name, value)


def layers_in(model: Any, include_self: bool = True, recursive: bool = True) -> Iterator[Any]:
    """The layers of a model or layer, nested ones too.

    Args:
        model: a model or layer of tf_keras.
        include_self: whether it is the first of them.
        recursive: whether layers of layers are among them; False: only those it holds itself.
    """
    return iter(model._flatten_layers(include_self=include_self, recursive=recursive))


def optimizers_in(model: Any) -> list[Any]:
    """The optimizers that a model holds: the compiled one first, then those in its attributes.

    A model with a `train_step` of its own may hold others in attributes, lists and dicts, as
    generative adversarial networks do, and so may the models in it.
    """
    kinds = (tf_keras.optimizers.Optimizer, tf_keras.optimizers.legacy.Optimizer)
    held = [getattr(model, "optimizer", None)]
    for layer in layers_in(model):
        for value in list(vars(layer).values()):
            inside = value.values() if isinstance(value, dict) else value
            held += list(inside) if isinstance(value, (list, tuple, dict)) else [value]
    found: dict[int, Any] = {id(each): each for each in held if isinstance(each, kinds)}
    # An optimizer inside of another one steps when that one does.
    inside = {id(getattr(each, "inner_optimizer", None)) for each in found.values()}
    return [each for each in found.values() if id(each) not in inside]


def is_functional(model: Any) -> bool:
    """Whether a model is a graph of layers, which can be built again from its configuration."""
    return bool(getattr(model, "_is_graph_network", False))


def own_weights(layer: Any) -> list[Any]:
    """The variables that the layer itself made to be trained, frozen ones too."""
    return list(layer._trainable_weights)


def own_state(layer: Any) -> list[Any]:
    """The variables that the layer itself made with `trainable=False`, such as statistics."""
    return list(layer._non_trainable_weights)


def takes_training(layer: Any) -> bool:
    """Whether the `call` of a layer takes the argument `training`."""
    return bool(layer._call_spec.expects_training_arg)


def takes_mask(layer: Any) -> bool:
    """Whether the `call` of a layer takes the argument `mask`."""
    return bool(layer._call_spec.expects_mask_arg)


def is_saving() -> bool:
    """Whether the call under way is made by tf_keras itself, to trace a SavedModel."""
    return bool(call_context().saving)


def batches_trained(model: Any) -> int:
    """How many batches the `fit` under way has trained on; 0 in a custom training loop."""
    return int(model._train_counter.numpy())


def copy_input_shape(source: Any, target: Any) -> None:
    """Gives a layer the input shape that the first layer of a Sequential model was made with.

    A Sequential model without an InputLayer knows by this attribute what it takes. A layer that
    has it already keeps its own.
    """
    if not hasattr(target, "_batch_input_shape") and hasattr(source, "_batch_input_shape"):
        target._batch_input_shape = source._batch_input_shape


def never_has_kernels(layer: Any) -> bool:
    """Whether tfmot's registry knows the class of a layer as one without anything to prune."""
    return bool(prune_registry.PruneRegistry._LAYERS_WEIGHTS_MAP.get(type(layer)) == [])


def made_by_tfmots_registry(method: Any) -> bool:
    """Whether tfmot put this `get_prunable_weights` on a layer, and not the layer's author."""
    name = prune_registry.PruneRegistry.__name__
    return name in getattr(method, "__qualname__", "")


def take_logs_as_they_are(callback_class: type) -> type:
    """Marks a callback class as one that takes the logs of an epoch as tf_keras has them.

    tf_keras hands one dict of logs from callback to callback only among those marked so; the others
    get copies, in which a callback adds in vain. Use it as a decorator.
    """
    callback_class._supports_tf_logs = True  # type: ignore[attr-defined]
    callback_class._chief_worker_only = None  # type: ignore[attr-defined]
    return callback_class


def source_of(tensor: Any) -> tuple[Any, list[Any]]:
    """The layer that a symbolic tensor comes from, and the tensors this was given."""
    history = tensor._keras_history
    node = history.layer._inbound_nodes[history.node_index]
    return history.layer, list(node.keras_inputs)


def is_symbolic(tensor: Any) -> bool:
    """Whether a tensor knows the layer that it comes from."""
    return hasattr(tensor, "_keras_history")
