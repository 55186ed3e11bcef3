"""What `tfshed.attach.kernels` asks of a layer of Keras 3: its variables, layers and names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from tfshed.attach.keras3 import private


def weights_of(layer: Any) -> list[Any]:
    """The variables that the layer itself made to be trained, frozen ones too."""
    return private.own_weights(layer)


def state_of(layer: Any) -> list[Any]:
    """The variables that the layer itself made with `trainable=False`, such as statistics."""
    return private.own_state(layer)


def layers_in(layer: Any) -> Iterator[Any]:
    """The layers directly inside of a layer or model."""
    return private.layers_in(layer, include_self=False, recursive=False)


def name_of(variable: Any) -> str:
    """The variable's own name, such as `kernel`."""
    return str(variable.name)


def path_of(variable: Any) -> str:
    """The name that users know a variable by, such as `net/hidden/kernel`."""
    return str(getattr(variable, "path", variable.name))


def is_pruning_wrapper(layer: Any) -> bool:
    """Whether the layer is a `PruneLowMagnitude`: it speaks of kernels of the layer in it."""
    return hasattr(layer, "chosen_kernels")


def brings_method(method: Any) -> bool:
    """Whether a `get_prunable_weights` is the layer's own; nobody else puts one on Keras 3."""
    return True


def outputs_of(model: Any) -> list[Any]:
    """The tensors that a functional or Sequential model returns; empty for other models."""
    made_of_tensors = getattr(model, "outputs", None) if isinstance(model, keras.Model) else None
    return keras.tree.flatten(made_of_tensors) if made_of_tensors else []


def source_of(tensor: Any) -> tuple[Any, list[Any]]:
    """The layer or operation that a symbolic tensor comes from, and what this was given."""
    return private.source_of(tensor)
