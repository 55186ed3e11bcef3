"""`clone`: a new model of the same layers, which puts wrappers into a model and takes them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfshed.attach.keras3.private import is_functional, is_plain_functional, operation_of


def can_clone(model: Any) -> bool:
    """Whether the model is a plain graph of layers.

    A subclass may have a `call` or `train_step` of its own, which a clone would lose.
    """
    return type(model) is keras.Sequential or is_plain_functional(model)


def clone(model: Any, replace: Callable[[Any], Any], done: dict[int, Any] | None = None) -> Any:
    """A new model of the same layers, each through `replace`, nested models too; not compiled.

    Keras' own recursion renames the inputs of functional models after their tensors.
    """
    done = {} if done is None else done

    def one(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operation, such as the comparison that makes an embedding's mask
        if id(layer) not in done:
            done[id(layer)] = clone(layer, replace, done) if can_clone(layer) else replace(layer)
        return done[id(layer)]

    inputs = None
    if is_functional(model) and not isinstance(model, keras.Sequential):
        inputs = keras.tree.map_structure(_same_input, model.input)
    # Keras would compile the clone too, and so make optimizer state, masks among it, twice.
    compiled, model.compiled = model.compiled, False
    try:
        return keras.models.clone_model(model, clone_function=one, input_tensors=inputs)
    finally:
        model.compiled = compiled


def _same_input(tensor: Any) -> Any:
    layer = operation_of(tensor)
    return keras.Input(
        batch_shape=tensor.shape, dtype=tensor.dtype, name=layer.name, optional=layer.optional
    )
