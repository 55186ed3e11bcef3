"""The filters of a model, and how they are removed."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.private import graph_of, is_functional, nodes_of, operation_of
from tfshed.core.backend import to_numpy


@dataclasses.dataclass(frozen=True, eq=False)
class Filters:
    """The filters of one convolution.

    Attributes:
        layer: the convolution.
        normalization: the BatchNormalization that reads its output, or None.
    """

    layer: Any
    normalization: Any

    @property
    def count(self) -> int:
        return int(self.layer.kernel.shape[-1])

    def magnitudes(self) -> np.ndarray:
        """|w| of shape (weights of a filter, filters)."""
        kernel = np.abs(to_numpy(self.layer.kernel).astype("float64"))
        return kernel.reshape(-1, kernel.shape[-1])

    def scales(self) -> np.ndarray:
        """|gamma| of the normalisation, one for each filter."""
        return np.abs(to_numpy(self.normalization.gamma).astype("float64"))

    def remove(self, gone: np.ndarray, normalization: bool = True) -> None:
        """Sets filters to zero, and what the normalisation makes of them.

        Args:
            gone: bool, one for each filter.
            normalization: whether gamma and beta of these channels become zero, too. Without it a
                channel is not zero but constant.
        """
        variables = [self.layer.kernel]
        if self.layer.use_bias:
            variables.append(self.layer.bias)
        if normalization and self.normalization is not None:
            found = (self.normalization.gamma, self.normalization.beta)
            variables += [v for v in found if v is not None]
        for variable in variables:
            value = to_numpy(variable)
            variable.assign(np.where(gone, np.zeros((), value.dtype), value))


def filters_of(model: Any) -> dict[str, Filters]:
    """The filters of each `Conv2D` of a functional or Sequential model, by its name.

    Raises:
        ValueError: the model is not built, or a subclassed one.
    """
    graph = graph_of(model)
    if graph is None or not is_functional(graph):
        raise ValueError(
            f"model: expected a built functional or Sequential model, received {model.name}"
        )
    readers: dict[int, Any] = {}
    for node in nodes_of(graph):
        if isinstance(node.operation, keras.layers.BatchNormalization):
            readers[id(operation_of(node.input_tensors[0]))] = node.operation
    return {
        layer.name: Filters(layer, readers.get(id(layer)))
        for layer in graph.layers
        if type(layer) is keras.layers.Conv2D and layer.groups == 1
    }
