"""Writes dense layers over the channels of an image net as 1x1 convolutions, which do the same.

XNNPACK has sparse kernels for 1x1 convolutions and none for dense layers. A `Dense` between the
depthwise convolutions of an image net therefore runs sparse only if the file has a CONV_2D in its
place. Dense layers over a sequence, as in a Transformer, gain nothing: XNNPACK's sparse parts start
at a 3x3 convolution over an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshed.export.litert.converter_bugs import add_buffer, add_tensor, code_of
from tfshed.export.litert.flatbuffer import UNPACKING, WeightUse, kind, parse, unparse, weight_uses
from tfshed.export.litert.xnnpack import why_dense


def dense_as_convolutions(content: bytes) -> bytes:
    """Returns the file with a CONV_2D for each FULLY_CONNECTED that XNNPACK then runs sparse.

    Only layers of four axes whose weights are stored sparse, singly, are considered. If none of
    them would run sparse, the same bytes come back.
    """
    model = parse(content)
    chosen = [i for i, use in enumerate(weight_uses(model)) if _fits(model, use)]
    # Whether one of them runs sparse may depend on the others: they may be in one part.
    while chosen:
        model = parse(content)
        uses = weight_uses(model)
        for i in chosen:
            _as_convolution(model, uses[i])
        dense = why_dense(model)
        sparse = [i for i in chosen if not dense[id(uses[i].operator)]]
        if sparse == chosen:
            return unparse(model)
        chosen = sparse
    return content


def _fits(model: Any, use: WeightUse) -> bool:
    if use.op != "FULLY_CONNECTED" or use.block != 1 or "DENSIFY" not in use.unpacking:
        return False
    operator, tensors = use.operator, use.graph.tensors
    ends = tensors[int(operator.inputs[0])], tensors[int(operator.outputs[0])]
    if any(tensor.shape is None or len(tensor.shape) != 4 for tensor in ends):
        return False
    return all(len(_readers(use.graph, i)) == 1 for i in _weights(model, use))


def _weights(model: Any, use: WeightUse) -> list[int]:
    """The tensors from the stored weights to those that the operator takes."""
    found = [use.stored]
    while found[-1] != int(use.operator.inputs[1]):
        (reader,) = [
            operator
            for operator in _readers(use.graph, found[-1])
            if kind(model, operator) in UNPACKING
        ][:1]
        found.append(int(reader.outputs[0]))
    return found


def _readers(graph: Any, index: int) -> list[Any]:
    return [operator for operator in graph.operators if index in operator.inputs]


def _as_convolution(model: Any, use: WeightUse) -> None:
    from tensorflow.lite.python.schema_py_generated import (
        BuiltinOptions,
        Conv2DOptionsT,
        DimensionMetadataT,
        Padding,
    )

    outputs, inputs = (int(n) for n in use.tensor.shape)
    for index in _weights(model, use):
        tensor = use.graph.tensors[index]
        tensor.shape = np.array([outputs, 1, 1, inputs], np.int32)
        tensor.shapeSignature = None
    # Rows of the CSR format, then two axes of size 1, then the columns.
    ones = [DimensionMetadataT(), DimensionMetadataT()]
    for axis in ones:
        axis.denseSize = 1
    sparsity = use.tensor.sparsity
    rows, columns = sparsity.dimMetadata
    sparsity.dimMetadata = [rows, *ones, columns]
    sparsity.traversalOrder = np.arange(4, dtype=np.int32)

    operator, options = use.operator, Conv2DOptionsT()
    options.padding = Padding.VALID
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = operator.builtinOptions.fusedActivationFunction
    operator.opcodeIndex = code_of(model, "CONV_2D", 1)
    operator.builtinOptionsType, operator.builtinOptions = BuiltinOptions.Conv2DOptions, options
    given = [int(i) for i in operator.inputs]
    if len(given) < 3 or given[2] < 0:
        # XNNPACK leaves convolutions without a bias to others.
        given = [*given[:2], _zeros(model, use, outputs)]
    operator.inputs = np.array(given, np.int32)


def _zeros(model: Any, use: WeightUse, size: int) -> int:
    """Adds a bias of zeros, in the dtype of the layer's result; returns its index."""
    result = use.graph.tensors[int(use.operator.outputs[0])]
    return add_tensor(
        use.graph,
        result,
        b"_bias",
        shape=np.array([size], np.int32),
        shapeSignature=None,
        buffer=add_buffer(model, np.zeros(4 * size, np.uint8)),
    )
