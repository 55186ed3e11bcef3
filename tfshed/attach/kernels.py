"""Which variables of a model can be pruned, and which of their axes are channels.

The rules are the same for Keras 3 and tf_keras; what differs, where a layer keeps its variables and
how these are called, is in `keras3/variables.py` and `tf_keras/variables.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tfshed.attach.keras3 import variables as keras3_variables
from tfshed.attach.which_keras import is_tf_keras
from tfshed.core.granularity import Axes


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """A variable that is pruned: where its channels are, and the name users know it by."""

    variable: Any
    axes: Axes
    path: str


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A variable that might be pruned, with all that a decision about it can rest on.

    Attributes:
        kernel: the variable, its axes and its path.
        owner: the layer that made it.
        off_by_default: why it is pruned only if it is selected, such as "depthwise"; None if it is
            pruned by default.
        named_as_kernel: whether the layer hands it out as prunable, or its name is a kernel's.
    """

    kernel: Kernel
    owner: Any
    off_by_default: str | None
    named_as_kernel: bool = True


class KernelsByDefault:
    """The `get_prunable_weights` of a layer that brings none: the kernels pruned by default."""

    def __init__(self, layer: Any):
        self._layer = layer

    def __call__(self) -> list[Any]:
        return [c.kernel.variable for c in candidates(self._layer) if not c.off_by_default]


def candidates(layer: Any) -> list[Candidate]:
    """All kernels of a layer or model, in the order of its layers; shared ones once."""
    found: list[Candidate] = []
    seen: set[int] = set()
    keras_of = _variables_module(layer)

    def walk(current: Any) -> None:
        if id(current) in seen:
            return
        seen.add(id(current))
        named = _weights_it_names(current, keras_of)
        for variable in _own_kernels(current, keras_of) if named is None else named:
            if id(variable) not in seen:
                seen.add(id(variable))
                name, shape = keras_of.name_of(variable), tuple(variable.shape)
                kernel = Kernel(variable, _axes(current, name, shape), keras_of.path_of(variable))
                off = _off_by_default(current, name, shape) if named is None else None
                found.append(Candidate(kernel, current, off))
        # A layer that names its weights names all of them, those of the layers in it too.
        for child in keras_of.layers_in(current) if named is None else ():
            walk(child)

    walk(layer)
    return found


def _variables_module(layer: Any) -> Any:
    if is_tf_keras(layer):
        from tfshed.attach.tf_keras import variables as tf_keras_variables

        return tf_keras_variables
    return keras3_variables


def _weights_it_names(layer: Any, keras_of: Any) -> list[Any] | None:
    """What the layer's own `get_prunable_weights()` returns; None if it has no such method."""
    method = getattr(layer, "get_prunable_weights", None)
    if method is None or isinstance(method, KernelsByDefault) or keras_of.is_pruning_wrapper(layer):
        return None
    if not keras_of.brings_method(method):
        return None
    # Before it is built, it may not have what it names.
    return list(method()) if layer.built else []


def _own_kernels(layer: Any, keras_of: Any) -> list[Any]:
    own = [*keras_of.weights_of(layer), *keras_of.state_of(layer)]
    return [v for v in own if len(v.shape) >= 2 and _is_kernel_name(keras_of.name_of(v))]


def _is_kernel_name(name: str) -> bool:
    return name in ("kernel", "embeddings") or name.endswith("_kernel")


def _axes(layer: Any, name: str, shape: tuple[int, ...]) -> Axes:
    rank, kind = len(shape), type(layer).__name__
    if name in ("embeddings", "depthwise_kernel") or kind.startswith("Depthwise"):
        return Axes(None, rank - 1)
    equation = getattr(layer, "equation", None)
    if isinstance(equation, str) and name == "kernel":
        # Of the letters of the kernel, those that the output lacks are summed over: inputs.
        operands, output = equation.replace(" ", "").split("->")
        letters = operands.split(",")[1]
        summed = [i for i, c in enumerate(letters) if c not in output]
        others = [i for i, c in enumerate(letters) if c in output]
        return Axes(summed[-1] if summed else None, others[-1] if others else None)
    if kind.endswith("Transpose") and rank >= 3:
        return Axes(rank - 1, rank - 2)
    return Axes(rank - 2, rank - 1)


def _off_by_default(layer: Any, name: str, shape: tuple[int, ...]) -> str | None:
    if name == "depthwise_kernel" or type(layer).__name__.startswith("Depthwise"):
        return "depthwise"
    # So ConvNeXt writes its own: every group has one input channel.
    if getattr(layer, "groups", 1) > 1 and shape[-2] == 1:
        return "depthwise"
    return "embedding" if name == "embeddings" else None
