"""The heads of a model: the layers whose output channels are the model's outputs."""

from __future__ import annotations

from typing import Any

from tfshed.attach.kernels import candidates, variables_module


def heads(model: Any) -> list[Any]:
    """The last layers with kernels on each way to an output of a functional or Sequential model.

    What comes after them, such as an activation or a reshaping, has no kernels. For layers and for
    subclassed models, which do not say what comes after what, there are none.

    >>> import keras
    >>> layers = [keras.layers.Dense(4, name="hidden"), keras.layers.Dense(3, name="head")]
    >>> net = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Softmax()])
    >>> [layer.name for layer in heads(net)]
    ['head']
    """
    keras_of = variables_module(model)
    found: list[Any] = []
    seen: set[int] = set()

    def walk(tensor: Any) -> None:
        if id(tensor) in seen:
            return
        seen.add(id(tensor))
        operation, given = keras_of.source_of(tensor)
        inner = keras_of.outputs_of(operation)
        if inner and candidates(operation):
            for each in inner:
                walk(each)
        elif hasattr(operation, "weights") and candidates(operation):
            if not any(operation is other for other in found):
                found.append(operation)
        else:
            for each in given:
                walk(each)

    for tensor in keras_of.outputs_of(model):
        walk(tensor)
    return found
