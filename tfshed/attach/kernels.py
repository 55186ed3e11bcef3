"""Which variables of a model can be pruned, and which of their axes are channels.

Each floating variable of two or more axes is a candidate. Variables that have a kernel's name, or
that their layer returns from `get_prunable_weights()`, are pruned unless there is a reason not to.
All others, such as `self.add_weight(name="projection")`, are pruned only when they are selected.

The rules are the same for Keras 3 and tf_keras. Where a layer keeps its variables and what they are
called differs, and is in `keras3/variables.py` and `tf_keras/variables.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfshed.attach.keras3 import variables as keras3_variables
from tfshed.attach.which_keras import is_tf_keras
from tfshed.core.granularity import Axes


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """A variable that is pruned, its channel axes, and the path by which users know it."""

    variable: Any
    axes: Axes
    path: str


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A variable that might be pruned, with everything that decides whether it is.

    Attributes:
        kernel: The variable, its axes and its path.
        owner: The layer that made it.
        off_by_default: Why it is pruned only if it is selected, such as "depthwise". None means
            that it is pruned by default.
        named_as_kernel: Whether the layer returns it as prunable, or its name is a kernel's.
        is_state: Whether the layer made it with `trainable=False`, so that no training changes it.
    """

    kernel: Kernel
    owner: Any
    off_by_default: str | None
    named_as_kernel: bool = True
    is_state: bool = False

    @property
    def own_name(self) -> str:
        """The last part of the path, such as `kernel`."""
        return self.kernel.path.split("/")[-1]

    @property
    def must_be_named(self) -> bool:
        """Whether only a regex that holds the variable's own name selects it, as `bias`."""
        return not self.named_as_kernel and _is_bias_or_scale(self.own_name)

    @property
    def frozen(self) -> bool:
        """Whether it is not trained now, but will be when the user thaws it."""
        trainable = self.kernel.variable.trainable and self.owner.trainable
        return not trainable and not self.is_state


class KernelsByDefault:
    """The `get_prunable_weights` of a layer that has none: those pruned by default."""

    def __init__(self, layer: Any):
        self._layer = layer

    def __call__(self) -> list[Any]:
        return [c.kernel.variable for c in candidates(self._layer) if not c.off_by_default]


def candidates(layer: Any) -> list[Candidate]:
    """All candidates of a layer or model, in the order of its layers; shared ones once."""
    found: list[Candidate] = []
    seen: set[int] = set()
    keras_of = variables_module(layer)

    def walk(current: Any) -> None:
        if id(current) in seen:
            return
        seen.add(id(current))
        named = _weights_it_names(current, keras_of)
        state = {id(v) for v in keras_of.state_of(current)}
        for variable in _own_matrices(current, keras_of) if named is None else named:
            if id(variable) not in seen:
                seen.add(id(variable))
                name, shape = keras_of.name_of(variable), tuple(variable.shape)
                kernel = Kernel(variable, _axes(current, name, shape), keras_of.path_of(variable))
                off = _off_by_default(current, name, shape) if named is None else None
                known = named is not None or _is_kernel_name(name)
                found.append(Candidate(kernel, current, off, known, id(variable) in state))
        # A layer that names its weights names all of them, those of the layers in it too.
        for child in keras_of.layers_in(current) if named is None else ():
            walk(child)

    walk(layer)
    return found


def variables_module(layer: Any) -> Any:
    """The module `variables` of the Keras that the layer is of."""
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
    # Before the layer is built, the weights that it returns may not exist.
    return list(method()) if layer.built else []


def _own_matrices(layer: Any, keras_of: Any) -> list[Any]:
    """The layer's own variables of two or more axes: floating ones, and quantised kernels."""
    own = [*keras_of.weights_of(layer), *keras_of.state_of(layer)]
    return [
        v
        for v in own
        if len(v.shape) >= 2 and (_is_floating(v) or _is_kernel_name(keras_of.name_of(v)))
    ]


def _is_floating(variable: Any) -> bool:
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(variable.dtype))


def _is_kernel_name(name: str) -> bool:
    return name in ("kernel", "embeddings") or name.endswith("_kernel")


def _is_bias_or_scale(name: str) -> bool:
    """Whether this is the name of a bias, or of what normalisation multiplies or adds."""
    return name in ("bias", "gamma", "beta", "scale") or name.endswith("_bias")


def _axes(layer: Any, name: str, shape: tuple[int, ...]) -> Axes:
    rank, kind = len(shape), type(layer).__name__
    # A table with a row for each token or position has no input channels. `reverse_embeddings` are
    # not such a table: the logits are a matrix product with them.
    table = "embedding" in name and not name.startswith("reverse")
    if table or name == "depthwise_kernel" or kind.startswith("Depthwise"):
        return Axes(None, rank - 1)
    equation = getattr(layer, "equation", None)
    if isinstance(equation, str) and name == "kernel":
        # The letters of the kernel that the output lacks are summed over, so they are inputs.
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
    # ConvNeXt writes its depthwise convolutions in this way: every group has one input channel.
    if getattr(layer, "groups", 1) > 1 and shape[-2] == 1:
        return "depthwise"
    if name == "embeddings":
        return "embedding"
    if _is_kernel_name(name):
        return None
    if _is_bias_or_scale(name):
        return "bias or normalisation"
    return "not named as a kernel"
