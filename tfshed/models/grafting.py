"""A network put onto another input: the same layers anew, in one flat graph."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import keras

from tfshed.attach.keras3.private import snake_case

# With these some of keras.applications preprocess images; here that is done in front of them.
BUILT_IN = (keras.layers.Rescaling, keras.layers.Normalization)


def names_of(model: Any) -> dict[int, str]:
    """A name for each operation of the model, by identity, that depends on the model alone.

    Keras numbers layers without a name through all models of a process.
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
    """A model from `image` to the outputs of `model` on `fed`, which is made of `image`.

    Args:
        model: a functional model with one input. Its own preprocessing is left out.
        image: what `keras.Input` returned.
        fed: a Keras tensor that depends on `image` only.
        name: of the new model.

    Returns:
        A functional model of new layers with new weights.
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
