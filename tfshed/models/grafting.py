"""Rebuilds a network on another input, with new layers in one flat graph."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import keras

from tfshed.attach.keras3.private import snake_case

# Layers with which some networks of keras.applications preprocess images. They are left out, as
# images are preprocessed before the network.
BUILT_IN = (keras.layers.Rescaling, keras.layers.Normalization)


def names_of(model: Any) -> dict[int, str]:
    """Returns a name for each operation of a model, by its id, that is the same in every process.

    For layers without a name, Keras counts through all models of a process, so their names depend
    on the models built before.
    """
    made: Counter[str] = Counter()
    names = {}
    for operation in model.operations:
        name, kind = operation.name, snake_case(type(operation).__name__)
        if re.fullmatch(rf"{kind}(_\d+)?", name):
            name = f"{kind}_{made[kind]}" if made[kind] else kind
            made[kind] += 1
        names[id(operation)] = name
    return names


def graft(model: Any, image: Any, fed: Any, name: str) -> Any:
    """Returns a model that computes `fed` from `image`, and then what `model` computes from `fed`.

    Args:
        model: A functional model with one input. Its own preprocessing is left out.
        image: The new input, which `keras.Input` returned.
        fed: A Keras tensor that was computed from `image` alone.
        name: The name of the new model.

    Returns:
        A functional model with new layers and new weights.
    """
    names = names_of(model)

    def copy(operation: Any) -> Any:
        config = {**operation.get_config(), "name": names[id(operation)]}
        return type(operation).from_config(config)

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, BUILT_IN):
            return args[0]
        if args and args[0] is image:
            args = (fed, *args[1:])
        return operation(*args, **kwargs)

    clone = keras.models.clone_model(model, image, clone_function=copy, call_function=call)
    return keras.Model(image, clone.output, name=name)
