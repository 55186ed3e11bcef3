"""What is known of the channels of every tensor in a model's graph.

A channel is an element of a tensor's last axis. It has an id: tensors that can only lose a channel
together share ids, or their ids are tied. It may be constant: one number at every position of every
example in inference, such as relu(beta) behind a filter of zeros.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.attach.keras3.private import is_merge, nodes_of

VARIES = np.nan


@dataclasses.dataclass(frozen=True, eq=False)
class Channels:
    """The channels of one tensor.

    Attributes:
        ids: int64 (channels,).
        const: float64 (channels,), the value of a constant channel; NaN: it varies.
    """

    ids: np.ndarray
    const: np.ndarray


@dataclasses.dataclass(eq=False)
class Consumer:
    """A layer that mixes the channels of its input: dense or convolutional.

    Attributes:
        layer: the Keras layer.
        inputs, outputs: ids, (inputs,) and (outputs,).
        const: float64 (inputs,), constants of the input, the same in all uses of the layer.
        kernel: (positions, inputs, outputs), of several kernels the one they come to.
        uses: bool (inputs, outputs), whether an input channel has any weight in an output.
        pads: whether the kernel meets zeros at borders, where a constant is none.
        input_axis: of the kernel; None: rows of several kernels cannot be added.
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
        """Bool (inputs,): removing the channel can be made up for by the bias."""
        return foldable(self.const, self.pads)

    def response(self, values: np.ndarray) -> np.ndarray:
        """What inputs of these values, the same at all positions, add to each output: float64."""
        some = np.flatnonzero(values)
        return np.einsum("pio,i->o", self.kernel[:, some].astype("float64"), values[some])


def foldable(const: np.ndarray, pads: bool) -> np.ndarray:
    """Which constants stay constants under a kernel: all, or only 0 where it meets padding."""
    return const == 0 if pads else ~np.isnan(const)


@dataclasses.dataclass(eq=False)
class Resize:
    """How a layer becomes smaller.

    Attributes:
        layer: the Keras layer.
        sizes: config entry -> ids that it counts.
        slices: (variable, axis -> ids along it), for variables that shrink.
    """

    layer: Any
    sizes: dict[str, np.ndarray]
    slices: list[tuple[Any, dict[int, np.ndarray]]]

    def ids(self) -> list[np.ndarray]:
        found = list(self.sizes.values())
        for _, axes in self.slices:
            found += axes.values()
        return found


class Trace:
    """What the rules have found out of a graph; its methods are how a rule records something."""

    def __init__(self) -> None:
        self.channels: dict[int, Channels] = {}
        self.count = 0
        self.ties: list[tuple[np.ndarray, np.ndarray]] = []
        self.blocks: list[tuple[np.ndarray, str]] = []
        self.consumers: dict[int, Consumer] = {}
        self.resizes: dict[int, Resize] = {}
        # Layers left as they are, with the reason.
        self.opaque: dict[int, tuple[Any, str]] = {}
        # Where constants end: (ids, how).
        self.lost: list[tuple[np.ndarray, str]] = []
        # Filters that give a constant: (layer, ids).
        self.dead: list[tuple[Any, np.ndarray]] = []

    def fresh(self, n: int) -> np.ndarray:
        """The ids of `n` channels that no tensor has had yet."""
        self.count += n
        return np.arange(self.count - n, self.count)

    def tie(self, a: np.ndarray, b: np.ndarray) -> None:
        """Records that channels of `a` and `b` at the same place can only be removed together."""
        if a is not b:
            self.ties.append((a, b))

    def block(self, ids: np.ndarray, reason: str) -> None:
        """Records that these channels have to stay, and why."""
        self.blocks.append((ids, reason))

    def padded(self, x: Channels, layer: Any, pads: bool = True) -> np.ndarray:
        """The constants of `x` behind a layer that pads with zeros: only those that are 0 stay."""
        going = x.const != 0 if pads else np.zeros(len(x.ids), bool)
        self.lost.append((x.ids[going], f"a constant other than 0 at the padding of {layer.name}"))
        return np.where(going, VARIES, x.const)

    def resize(
        self,
        layer: Any,
        sizes: dict[str, np.ndarray],
        slices: Sequence[tuple[Any, dict[int, np.ndarray]]],
    ) -> None:
        """Notes how a layer shrinks; a layer used again must shrink in the same way."""
        new = Resize(layer, sizes, [s for s in slices if s[0] is not None])
        old = self.resizes.setdefault(id(layer), new)
        for a, b in zip(old.ids(), new.ids()):
            self.tie(a, b)

    def leave(self, node: Any, inputs: Sequence[Channels], why: str) -> list[Channels]:
        """Leaves a layer as it is: its inputs have to stay, and so do its outputs, new channels."""
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
    """Number of channels of a tensor; 0 where there is no such axis or its size is open."""
    return (tensor.shape[-1] or 0) if len(tensor.shape) > 1 else 0


def on_last_axis(values: np.ndarray, rank: int, dtype: str) -> Any:
    """A tensor of one position with these values on its last axis; 0 for unknown ones."""
    known = np.nan_to_num(values, nan=0.0).reshape((1,) * (rank - 1) + (-1,))
    return ops.cast(ops.convert_to_tensor(known.astype("float32")), dtype)


def values_of(tensor: Any) -> np.ndarray:
    """The values on the last axis of a tensor of one position; NaN for any that is not finite."""
    found = np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")), "float64").reshape(-1)
    return np.where(np.isfinite(found), found, VARIES)


def apply(node: Any, inputs: Sequence[Channels], known: np.ndarray) -> np.ndarray:
    """The constants behind an elementwise layer: those it computes itself, where `known`."""
    tensors = node.arguments.keras_tensors
    fed = {id(t): on_last_axis(x.const, len(t.shape), t.dtype) for t, x in zip(tensors, inputs)}
    args, kwargs = node.arguments.fill_in(fed)
    return np.where(known, values_of(node.operation(*args, **kwargs)), VARIES)


Rule = Callable[[Trace, Any, Sequence[Channels]], "Channels | str"]


def trace(functional: Any, rules: dict[type, Rule]) -> Trace:
    """Walks a functional model from its inputs to its outputs.

    A rule gives the output's channels, or says why the layer must be left as it is.
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
