"""Brings the kernels before batch normalisation to one scale, without a change of the output."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.private import graph_of, is_functional, nodes_of, source_of
from tfshed.attach.kernels import candidates
from tfshed.core.backend import to_numpy


def match_scale(model: keras.Model) -> list[str]:
    """Gives all kernels whose output is normalised the same root mean square, in place.

    Pruning by magnitude over all kernels together, and one threshold for all of them, take
    most from kernels whose weights are small. Batch normalisation divides by the standard
    deviation of its input. So a kernel before it may be multiplied by any number, if the bias and
    the statistics follow, and the net computes what it did (but for the epsilon of the
    normalisation). The root mean square that all get is that of these kernels taken together.

    Args:
        model: a built Sequential or functional model; nested models are looked at as well.

    Returns:
        The paths of the kernels that were changed. Kernels whose output goes anywhere else than
        into one batch normalisation are left as they are.

    >>> import keras
    >>> from tfshed.experiments.match_scale import match_scale
    >>> dense = keras.layers.Dense(4, kernel_initializer="ones", name="dense")
    >>> layers = [dense, keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    >>> match_scale(keras.Sequential([keras.Input((3,)), *layers], name="net"))
    ['net/dense/kernel']
    """
    found = [(layer, norm) for layer, norm in _pairs(model)]
    kernels = [to_numpy(layer.kernel).astype("float64") for layer, _ in found]
    if not kernels:
        return []
    weights = sum(w.size for w in kernels)
    common = float(np.sqrt(sum((w**2).sum() for w in kernels) / weights))
    for (layer, norm), kernel in zip(found, kernels):
        own = float(np.sqrt((kernel**2).mean()))
        if own == 0.0:
            continue  # all zeros stay zeros
        factor = common / own
        layer.kernel.assign(kernel * factor)
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(to_numpy(layer.bias) * factor)
        norm.moving_mean.assign(to_numpy(norm.moving_mean) * factor)
        norm.moving_variance.assign(to_numpy(norm.moving_variance) * factor**2)
    return [layer.kernel.path for layer, _ in found]


def _pairs(model: Any) -> list[tuple[Any, Any]]:
    """The layers with a kernel whose only output goes into a batch normalisation, with that."""
    graph = graph_of(model)
    if not is_functional(graph):
        return []
    nodes = list(nodes_of(graph))
    uses = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    uses.update(id(tensor) for tensor in graph.outputs)
    calls = Counter(id(node.operation) for node in nodes)
    found = []
    for node in nodes:
        norm = node.operation
        inner = graph_of(norm)
        if is_functional(inner):
            found += _pairs(inner)
        if not isinstance(norm, keras.layers.BatchNormalization) or calls[id(norm)] > 1:
            continue
        (tensor,) = node.input_tensors
        layer, _ = source_of(tensor)
        linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
        own = [c.kernel.variable for c in candidates(layer)] if hasattr(layer, "kernel") else []
        single = len(own) == 1 and own[0] is layer.kernel
        if single and linear and uses[id(tensor)] == 1 and calls[id(layer)] == 1:
            found.append((layer, norm))
    return found
