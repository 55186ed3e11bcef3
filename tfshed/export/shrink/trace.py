"""Follows the channels of all tensors through a model's graph.

A channel is one index of a tensor's last axis. Every channel has an id. If a channel can only be
removed from two tensors at once, it has the same id in both, or the two ids are tied. A channel may
be constant, which means that it has the same value at every position of every example in inference,
such as relu(beta) after a filter of zeros.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.attach.keras3.private import is_merge, nodes_of

# Stands in place of the constant of a channel that is not constant.
VARIES = np.nan


@dataclasses.dataclass(frozen=True, eq=False)
class Channels:
    """The channels of one tensor.

    Attributes:
        ids: int64 (channels,), the id of each channel.
        const: float64 (channels,), the value of each constant channel; NaN for the others.
    """

    ids: np.ndarray
    const: np.ndarray


@dataclasses.dataclass(eq=False)
class Consumer:
    """A dense or convolutional layer, whose outputs depend on all channels of its input.

    Attributes:
        layer: The Keras layer.
        inputs, outputs: The ids of its input and output channels.
        const: float64 (inputs,), the constants of the input that are equal in all uses of the
            layer; NaN for the others.
        kernel: (positions, inputs, outputs), the kernel, or the product of several kernels.
        uses: bool (inputs, outputs), whether an input channel has a nonzero weight for an output.
        pads: Whether the layer pads with zeros, so that a constant is not constant at borders.
        input_axis: The axis of input channels in the kernel's variable. None if there are several
            kernels, whose rows cannot be added.
    """

    layer: Any
    inputs: np.ndarray
    outputs: np.ndarray
    const: np.ndarray
    kernel: np.ndarray
    uses: np.ndarray
    pads: bool
    input_axis: int | None

    @property
    def foldable(self) -> np.ndarray:
        """Bool (inputs,): whether the bias can replace the channel."""
        return foldable(self.const, self.pads)

    def response(self, values: np.ndarray) -> np.ndarray:
        """What inputs that have these values at all positions add to each output, in float64."""
        some = np.flatnonzero(values)
        return np.einsum("pio,i->o", self.kernel[:, some].astype("float64"), values[some])


def foldable(const: np.ndarray, pads: bool) -> np.ndarray:
    """Which constants are constant after a kernel: all of them, or with padding only 0."""
    return const == 0 if pads else ~np.isnan(const)


@dataclasses.dataclass(eq=False)
class Resize:
    """How a layer becomes smaller.

    Attributes:
        layer: The Keras layer.
        sizes: For each entry of its config that is a number of channels, the ids of these.
        slices: For each variable that shrinks, the variable and a dictionary from its axes to the
            ids of the channels along them.
    """

    layer: Any
    sizes: dict[str, np.ndarray]
    slices: list[tuple[Any, dict[int, np.ndarray]]]

    def ids(self) -> list[np.ndarray]:
        """All arrays of ids, in a fixed order."""
        found = list(self.sizes.values())
        for _, axes in self.slices:
            found += axes.values()
        return found


class Trace:
    """What is known of a graph so far. Rules record what they find by its methods."""

    def __init__(self) -> None:
        self.channels: dict[int, Channels] = {}
        self.count = 0
        self.ties: list[tuple[np.ndarray, np.ndarray]] = []
        self.blocks: list[tuple[np.ndarray, str]] = []
        self.consumers: dict[int, Consumer] = {}
        self.resizes: dict[int, Resize] = {}
        # Layers that are not changed, by id, with the reason.
        self.opaque: dict[int, tuple[Any, str]] = {}
        # Channels that were constant before a layer but not after it: (ids, the reason).
        self.lost: list[tuple[np.ndarray, str]] = []
        # Filters whose output is constant: (layer, ids).
        self.dead: list[tuple[Any, np.ndarray]] = []

    def fresh(self, n: int) -> np.ndarray:
        """Returns new ids for `n` channels."""
        self.count += n
        return np.arange(self.count - n, self.count)

    def tie(self, a: np.ndarray, b: np.ndarray) -> None:
        """Records that channels at the same place of `a` and `b` can only be removed together."""
        if a is not b:
            self.ties.append((a, b))

    def block(self, ids: np.ndarray, reason: str) -> None:
        """Records that these channels must be kept, and why."""
        self.blocks.append((ids, reason))

    def padded(self, x: Channels, layer: Any, pads: bool = True) -> np.ndarray:
        """The constants of `x` after a layer: if it pads with zeros, only 0 stays constant."""
        ends = x.const != 0 if pads else np.zeros(len(x.ids), bool)
        reason = f"it is a constant other than 0 at the padding of {layer.name}"
        self.lost.append((x.ids[ends], reason))
        return np.where(ends, VARIES, x.const)

    def resize(
        self,
        layer: Any,
        sizes: dict[str, np.ndarray],
        slices: Sequence[tuple[Any, dict[int, np.ndarray]]],
    ) -> None:
        """Records how a layer shrinks. If it is used twice, it must shrink in the same way."""
        new = Resize(layer, sizes, [s for s in slices if s[0] is not None])
        old = self.resizes.setdefault(id(layer), new)
        for a, b in zip(old.ids(), new.ids()):
            self.tie(a, b)

    def leave(self, node: Any, inputs: Sequence[Channels], why: str) -> list[Channels]:
        """Records that a layer is not changed: all of its inputs and outputs are kept.

        Returns:
            The new channels of its outputs.
        """
        layer = node.operation
        self.opaque.setdefault(id(layer), (layer, why))
        reason = f"feeds {layer.name} ({type(layer).__name__}: {why})"
        for x in inputs:
            self.block(x.ids, reason)
        before = self.resizes.get(id(layer))
        for ids in before.ids() if before else []:
            self.block(ids, f"{layer.name} is also used where: {why}")
        out = []
        for tensor in node.outputs:
            ids = self.fresh(width(tensor))
            self.block(ids, f"comes from {layer.name} ({type(layer).__name__}: {why})")
            out.append(Channels(ids, np.full(len(ids), VARIES)))
        return out


def width(tensor: Any) -> int:
    """The number of channels of a tensor; 0 if it has no such axis, or one of open size."""
    return (tensor.shape[-1] or 0) if len(tensor.shape) > 1 else 0


def on_last_axis(values: np.ndarray, rank: int, dtype: str) -> Any:
    """A tensor with one position that has these values on its last axis, 0 in place of NaN."""
    known = np.nan_to_num(values, nan=0.0).reshape((1,) * (rank - 1) + (-1,))
    return ops.cast(ops.convert_to_tensor(known.astype("float32")), dtype)


def values_of(tensor: Any) -> np.ndarray:
    """The values on the last axis of a tensor with one position; NaN if not finite."""
    found = np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")), "float64").reshape(-1)
    return np.where(np.isfinite(found), found, VARIES)


def apply(node: Any, inputs: Sequence[Channels], known: np.ndarray) -> np.ndarray:
    """The constants after an elementwise layer, which is called to compute them where `known`."""
    tensors = node.arguments.keras_tensors
    fed = {id(t): on_last_axis(x.const, len(t.shape), t.dtype) for t, x in zip(tensors, inputs)}
    args, kwargs = node.arguments.fill_in(fed)
    return np.where(known, values_of(node.operation(*args, **kwargs)), VARIES)


Rule = Callable[[Trace, Any, Sequence[Channels]], "Channels | str"]


def trace(functional: Any, rules: dict[type, Rule]) -> Trace:
    """Walks through a functional model from its inputs to its outputs.

    Args:
        functional: The model.
        rules: For each class of layers, a function of the trace, a node of the graph and the
            channels of its inputs. It returns the channels of the output, or the reason why the
            layer cannot be changed.
    """
    found = Trace()
    for node in nodes_of(functional):
        tensors = node.arguments.keras_tensors
        inputs = [found.channels[id(t)] for t in tensors]
        if node.is_input:
            made = []
            for tensor in node.outputs:
                ids = found.fresh(width(tensor))
                found.block(ids, "input of the model")
                made.append(Channels(ids, np.full(len(ids), VARIES)))
        else:
            why = _unfit(found, node, rules) or rules[type(node.operation)](found, node, inputs)
            made = found.leave(node, inputs, why) if isinstance(why, str) else [why]
        for tensor, channels in zip(node.outputs, made):
            found.channels[id(tensor)] = channels
    for tensor in functional.outputs:
        found.block(found.channels[id(tensor)].ids, "output of the model")
    return found


def _unfit(found: Trace, node: Any, rules: dict[type, Rule]) -> str | None:
    """Why no rule can be applied to a node; None if one can."""
    layer = node.operation
    if id(layer) in found.opaque:
        return found.opaque[id(layer)][1]
    if type(layer) not in rules:
        return (
            "a nested model"
            if isinstance(layer, keras.Model)
            else "how it uses channels is unknown"
        )
    tensors = node.arguments.keras_tensors
    if isinstance(layer, keras.layers.Layer) and not is_merge(layer) and len(tensors) > 1:
        return "more than one input"
    if any(width(t) == 0 for t in (*tensors, *node.outputs)):
        return "no axis of channels of a fixed size"
    if len(node.outputs) != 1 or node.arguments.kwargs.get("training"):
        return "called with training=True" if len(node.outputs) == 1 else "several outputs"
    return None
