"""Rules for layers with kernels: dense layers and all kinds of convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from tfshed.core.backend import to_numpy
from tfshed.export.shrink.trace import (
    VARIES,
    Channels,
    Consumer,
    Rule,
    Trace,
    foldable,
    on_last_axis,
    values_of,
)

# Keras' activations whose output at one channel depends on other channels.
MIXING = ("softmax", "log_softmax", "glu", "sparsemax")


def is_channelwise(activation: Any) -> bool:
    """Whether an activation is one of Keras' and acts on each element separately."""
    name = getattr(activation, "__name__", "")
    return name not in MIXING and getattr(keras.activations, name, None) is activation


def _unfit(layer: Any) -> str | None:
    """Why a layer cannot be shrunk; None if it can."""
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "channels first"
    if getattr(layer, "groups", 1) != 1:
        return "grouped convolution"
    if getattr(layer, "quantization_mode", None) is not None:
        return "quantized"
    if getattr(layer, "lora_enabled", False):
        return "LoRA enabled"
    return None


def _mixes(layer: Any) -> str | None:
    """Why a layer's activation may mix channels; None if it does not."""
    if is_channelwise(layer.activation):
        return None
    name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
    return f"activation {name} of {layer.name} is not known to act on each channel separately"


def _pads(layer: Any) -> bool:
    """Whether outputs near borders are sums over a part of the kernel only."""
    if isinstance(layer, layers.Dense):
        return False
    # In a transposed convolution, positions near the border get fewer of the kernel's products.
    if type(layer).__name__.endswith("Transpose"):
        return True
    return layer.padding != "valid" and any(k > 1 for k in layer.kernel_size)


def mixing(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    """Dense, ConvND, ConvNDTranspose, SeparableConvND: each output depends on all inputs."""
    layer, (x,) = node.operation, inputs
    why = _unfit(layer)
    if why:
        return why
    old = trace.consumers.get(id(layer))
    if old is None:
        old = trace.consumers[id(layer)] = _consumer(trace, layer, x)
    else:
        # A layer has one bias for all of its uses, so a constant can be added to the bias only if
        # it is the same in all uses.
        other = ~np.isnan(old.const) & (old.const != x.const)
        trace.lost.append(
            (x.ids[other], f"it is not the same constant in all uses of {layer.name}")
        )
        old.const = np.where(other, VARIES, old.const)
    _resize(trace, layer, x.ids, old.outputs)
    # An output is constant if it has weights only for inputs that stay constant under the kernel.
    alive = foldable(x.const, old.pads)
    known = ~old.uses[~alive].any(axis=0)
    sums = old.response(np.where(alive, x.const, 0.0))
    trace.dead.append((layer, old.outputs[known]))
    reason = _mixes(layer)
    if reason:
        trace.block(old.outputs, reason)
        return Channels(old.outputs, np.full(len(old.outputs), VARIES))
    return Channels(old.outputs, _activated(node, known, sums))


def _activated(node: Any, known: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The constants after bias and activation, where `known`, from those before."""
    layer = node.operation
    bias = 0.0 if layer.bias is None else to_numpy(layer.bias).astype("float64")
    output = node.outputs[0]
    made = layer.activation(on_last_axis(sums + bias, len(output.shape), output.dtype))
    return np.where(known, values_of(made), VARIES)


def _consumer(trace: Trace, layer: Any, x: Channels) -> Consumer:
    axis: int | None
    if type(layer).__name__.startswith("Separable"):
        deep, point = to_numpy(layer.depthwise_kernel), to_numpy(layer.pointwise_kernel)
        deep = deep.reshape(-1, *deep.shape[-2:]).astype("float64")
        point = point.reshape(*deep.shape[1:], -1).astype("float64")
        # For inputs that are constant over all positions, the two kernels act like one 1x1 kernel.
        kernel = np.einsum("cm,cmo->co", deep.sum(axis=0), point)[None]
        # Whether a channel is used is not read from `kernel`, in whose sums weights may cancel.
        uses = ((deep != 0).any(axis=0)[..., None] & (point != 0)).any(axis=1)
        axis = None
    else:
        kernel = to_numpy(layer.kernel)
        rank = kernel.ndim
        kernel = kernel.reshape(-1, *kernel.shape[-2:])
        axis = rank - 2
        if type(layer).__name__.endswith("Transpose"):
            kernel, axis = kernel.swapaxes(-1, -2), rank - 1
        uses = (kernel != 0).any(axis=0)
    outputs = trace.fresh(uses.shape[1])
    return Consumer(layer, x.ids, outputs, x.const, kernel, uses, _pads(layer), axis)


def _resize(trace: Trace, layer: Any, inputs: np.ndarray, outputs: np.ndarray) -> None:
    size = "units" if isinstance(layer, layers.Dense) else "filters"
    bias = (layer.bias, {0: outputs})
    if type(layer).__name__.startswith("Separable"):
        rank = len(layer.depthwise_kernel.shape)
        deep = np.repeat(inputs, layer.depth_multiplier)
        slices = [
            (layer.depthwise_kernel, {rank - 2: inputs}),
            (layer.pointwise_kernel, {rank - 2: deep, rank - 1: outputs}),
        ]
    else:
        rank = len(layer.kernel.shape)
        turned = type(layer).__name__.endswith("Transpose")
        axes = (rank - 1, rank - 2) if turned else (rank - 2, rank - 1)
        slices = [(layer.kernel, dict(zip(axes, (inputs, outputs))))]
    trace.resize(layer, {size: outputs}, [*slices, bias])


def depthwise(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    """DepthwiseConvND: each output depends on one input, so both are removed together."""
    layer, (x,) = node.operation, inputs
    why = _unfit(layer) or _mixes(layer)
    if why:
        return why
    kernel = to_numpy(layer.kernel)
    multiplier = kernel.shape[-1]
    flat = kernel.reshape(-1, *kernel.shape[-2:])
    zero = ~(flat != 0).any(axis=0).reshape(-1)
    const = np.repeat(trace.padded(x, layer, _pads(layer)), multiplier)
    ids = np.repeat(x.ids, multiplier)
    rank = kernel.ndim
    trace.resize(layer, {}, [(layer.kernel, {rank - 2: x.ids}), (layer.bias, {0: ids})])
    # A kernel of zeros gives a constant output even if its input varies.
    known = zero | ~np.isnan(const)
    total = flat.astype("float64").sum(axis=0).reshape(-1)
    sums = np.where(known & ~zero, const, 0.0) * total
    trace.dead.append((layer, ids[zero]))
    return Channels(ids, _activated(node, known, sums))


def flops(layer: Any, node: Any) -> int | None:
    """2 x multiplications of one use of a layer on one example; None if its sizes are open."""
    turned = type(layer).__name__.endswith("Transpose")
    tensor = node.arguments.keras_tensors[0] if turned else node.outputs[0]
    positions = tensor.shape[1:-1]
    if None in positions:
        return None
    kernels = [v for v in layer.weights if v.name.endswith("kernel")]
    return 2 * math.prod(positions) * sum(math.prod(v.shape) for v in kernels)


MIXING_LAYERS = (
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
DEPTHWISE_LAYERS = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
RULES: dict[type, Rule] = {
    **dict.fromkeys(MIXING_LAYERS, mixing),
    **dict.fromkeys(DEPTHWISE_LAYERS, depthwise),
}
# Layers whose FLOPs are counted, by the names of their classes.
COUNTED = {kind.__name__ for kind in RULES}
