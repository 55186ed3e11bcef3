"""Rules for layers without kernels: normalisation, activations, pooling, merging, reshaping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from tfshed.attach.keras3.private import operation_classes
from tfshed.export.shrink import kernel_rules
from tfshed.export.shrink.trace import VARIES, Channels, Rule, Trace, apply, width


def _first(layer: Any) -> str | None:
    """The reason to leave a layer as it is if its channels are the first axis; else None."""
    last = getattr(layer, "data_format", None) in (None, "channels_last")
    return None if last else "channels first"


def same(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    """Layers that do not change a constant: dropout, cropping, global pooling, ..."""
    return _first(node.operation) or inputs[0]


def pooling(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    layer, (x,) = node.operation, inputs
    # Backends pad with different values, which makes no difference to channels of zeros.
    pads = layer.padding != "valid" and any(size > 1 for size in layer.pool_size)
    return _first(layer) or Channels(x.ids, trace.padded(x, layer, pads))


def zero_padding(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    layer, (x,) = node.operation, inputs
    if not _first(layer):
        return Channels(x.ids, trace.padded(x, layer))
    # Padding of channels-first data, applied to channels-last data, adds channels of zeros. This is
    # the shortcut without parameters of He et al. 2016. These channels can be removed like others.
    if not isinstance(layer, layers.ZeroPadding2D) or layer.padding[0] != (0, 0):
        return "channels first"
    before, after = (trace.fresh(n) for n in layer.padding[1])
    trace.resize(layer, {"before": before, "after": after}, [])
    zeros = [np.zeros(len(ids)) for ids in (before, after)]
    return Channels(
        np.concatenate([before, x.ids, after]), np.concatenate([zeros[0], x.const, zeros[1]])
    )


def permute(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    moved = node.operation.dims[-1] != len(node.operation.dims)
    return "moves the axis of channels" if moved else inputs[0]


def elementwise(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    """Functions without state that act on each element of one tensor."""
    if len(inputs) != 1:
        return "more than one input"
    (x,) = inputs
    return Channels(x.ids, apply(node, inputs, ~np.isnan(x.const)))


def activation(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    function = node.operation.activation
    if not kernel_rules.is_channelwise(function):
        name = getattr(function, "__name__", type(function).__name__)
        return f"{name} is not known to act on each channel separately"
    return elementwise(trace, node, inputs)


def rescaling(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    layer = node.operation
    if np.size(layer.scale) != 1 or np.size(layer.offset) != 1:
        return "a scale for each channel"
    return elementwise(trace, node, inputs)


def batch_norm(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    layer, (x,) = node.operation, inputs
    if layer.axis not in (-1, len(node.outputs[0].shape) - 1):
        return f"normalises axis {layer.axis}, not the last one"
    own = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    trace.resize(layer, {}, [(v, {0: x.ids}) for v in own])
    return Channels(x.ids, apply(node, inputs, ~np.isnan(x.const)))


def prelu(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    layer, (x,) = node.operation, inputs
    shape = tuple(layer.alpha.shape)
    if shape[-1] == len(x.ids):
        trace.resize(layer, {}, [(layer.alpha, {len(shape) - 1: x.ids})])
    # If the slopes differ between positions, a negative constant does not stay constant.
    known = ~np.isnan(x.const) if set(shape[:-1]) <= {1} else x.const >= 0
    if set(shape[:-1]) <= {1}:
        return Channels(x.ids, apply(node, inputs, known))
    return Channels(x.ids, np.where(known, x.const, VARIES))


def merge(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    """Add, Multiply, ... of tensors, or of a tensor and a plain number."""
    arguments = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
    numbers = [a for a in arguments if not isinstance(a, keras.KerasTensor)]
    if any(np.size(a) != 1 for a in numbers):
        return "an array among its arguments"
    n = width(node.outputs[0])
    wide = [x for x in inputs if len(x.ids) == n]
    for x in inputs:
        if len(x.ids) == n:
            trace.tie(wide[0].ids, x.ids)
        else:
            trace.block(x.ids, f"is broadcast over the channels in {node.operation.name}")
    consts = np.stack([np.broadcast_to(x.const, (n,)) for x in inputs])
    known = ~np.isnan(consts).any(axis=0)
    # A product with 0 is 0 even if the other factor varies.
    zero = np.zeros(n, bool)
    if isinstance(node.operation, _PRODUCTS):
        zero = (consts == 0).any(axis=0)
    for x in wide:
        joined = ~(np.isnan(x.const) | known | zero)
        why = f"it is merged with channels that vary in {node.operation.name}"
        trace.lost.append((x.ids[joined], why))
    made = apply(node, inputs, known | zero)
    return Channels(wide[0].ids, np.where(zero, 0.0, made))


def concatenate(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    if node.operation.axis not in (-1, len(node.outputs[0].shape) - 1):
        return f"joins along axis {node.operation.axis}, not the last one"
    return Channels(
        np.concatenate([x.ids for x in inputs]), np.concatenate([x.const for x in inputs])
    )


def reshape(trace: Trace, node: Any, inputs: Sequence[Channels]) -> Channels | str:
    """Flatten and Reshape: a channel becomes one channel, or several that share its id."""
    layer, (x,) = node.operation, inputs
    if _first(layer):
        return "channels first"
    before, after = node.arguments.keras_tensors[0].shape[1:], node.outputs[0].shape[1:]
    out = x
    if before[-1] != after[-1]:
        if None in (*before, *after):
            return "open sizes"
        # The channel of each element before, arranged like the elements after: a column must have
        # the same channel in all rows.
        places = np.broadcast_to(np.arange(len(x.ids)), before).reshape(-1, after[-1])
        ids = x.ids[places]
        if (ids != ids[0]).any():
            return "distributes one channel over several"
        out = Channels(ids[0], x.const[places[0]])
    if isinstance(layer, layers.Reshape):
        trace.resize(layer, {"target_shape": out.ids}, [])
    return out


def _layers(*names: str) -> list[type]:
    """The layer classes of these names that this version of Keras has."""
    return [getattr(layers, name) for name in names if hasattr(layers, name)]


def _of_ranks(*names: str) -> list[type]:
    return _layers(*(f"{name}{rank}D" for name in names for rank in (1, 2, 3)))


_PRODUCTS = (layers.Multiply, *operation_classes("Multiply"))
_SAME = _of_ranks("Cropping", "UpSampling", "GlobalAveragePooling", "GlobalMaxPooling")
_SAME += _of_ranks("AdaptiveAveragePooling", "AdaptiveMaxPooling", "SpatialDropout")
_SAME += _layers("Dropout", "GaussianDropout", "GaussianNoise", "AlphaDropout")
_SAME += _layers("ActivityRegularization", "Identity", "RepeatVector")
_MERGE = _layers("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
_MERGE += operation_classes("Add", "Subtract", "Multiply", "Maximum", "Minimum")
_MERGE += operation_classes("Divide", "TrueDivide")
_ELEMENTWISE = _layers("ReLU", "LeakyReLU", "ELU")
_ELEMENTWISE += operation_classes("Relu", "Relu6", "Sigmoid", "Silu", "HardSigmoid", "HardSilu")
_ELEMENTWISE += operation_classes(
    "LeakyRelu", "Elu", "Selu", "Gelu", "Celu", "Softplus", "Softsign"
)
_ELEMENTWISE += operation_classes("Absolute", "Exp", "Negative", "Square", "Tanh")

RULES: dict[type, Rule] = {
    **kernel_rules.RULES,
    **dict.fromkeys(_SAME, same),
    **dict.fromkeys(_of_ranks("MaxPooling", "AveragePooling"), pooling),
    **dict.fromkeys(_of_ranks("ZeroPadding"), zero_padding),
    **dict.fromkeys(_MERGE, merge),
    **dict.fromkeys(_ELEMENTWISE, elementwise),
    layers.Activation: activation,
    layers.BatchNormalization: batch_norm,
    layers.Concatenate: concatenate,
    layers.Flatten: reshape,
    layers.Permute: permute,
    layers.PReLU: prelu,
    layers.Rescaling: rescaling,
    layers.Reshape: reshape,
}
