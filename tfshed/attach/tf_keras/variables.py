"""What `tfshed.attach.kernels` asks of a layer of tf_keras: its variables, layers and names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfshed.attach.tf_keras import private
from tfshed.attach.tf_keras.real import pruning_wrapper, tf_keras


def weights_of(layer: Any) -> list[Any]:
    """The variables that the layer itself made to be trained, frozen ones too."""
    return private.own_weights(layer)


def state_of(layer: Any) -> list[Any]:
    """The variables that the layer itself made with `trainable=False`, such as statistics."""
    # A pruning wrapper of tf_keras keeps its masks there.
    return [] if is_pruning_wrapper(layer) else private.own_state(layer)


def layers_in(layer: Any) -> Iterator[Any]:
    """The layers directly inside of a layer or model."""
    return private.layers_in(layer, include_self=False, recursive=False)


def name_of(variable: Any) -> str:
    """The variable's own name: `kernel` of `hidden/kernel:0`."""
    return path_of(variable).split("/")[-1]


def path_of(variable: Any) -> str:
    """The name that users know a variable by: `hidden/kernel` of `hidden/kernel:0`."""
    return str(variable.name).split(":")[0]


def is_pruning_wrapper(layer: Any) -> bool:
    """Whether the layer is a `PruneLowMagnitude`: it speaks of kernels of the layer in it."""
    return isinstance(layer, pruning_wrapper.PruneLowMagnitude)


def brings_method(method: Any) -> bool:
    """Whether a `get_prunable_weights` is the layer's own: tfmot puts one on layers it wraps."""
    return not private.made_by_tfmots_registry(method)


def outputs_of(model: Any) -> list[Any]:
    """The tensors that a functional or Sequential model returns; empty for other models."""
    found = getattr(model, "outputs", None) if isinstance(model, tf_keras.Model) else None
    return [tensor for tensor in found or [] if private.is_symbolic(tensor)]


def source_of(tensor: Any) -> tuple[Any, list[Any]]:
    """The layer that a symbolic tensor comes from, and what this was given."""
    return private.source_of(tensor)
