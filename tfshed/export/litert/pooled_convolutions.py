"""Inserts a RESHAPE between a global pooling and a 1x1 convolution after it, in sparse files.

If more than two thirds of the weights of the 1x1 convolutions are zero, XNNPACK runs the part of
the net from the first convolution to the global pooling sparse. XNNPACK mistakes a 1x1 convolution
directly after the pooling for one of that part, and then cannot prepare the file: interpreters with
sparse kernels (ARM, WebAssembly) fail to load it. A RESHAPE to the same shape ends the part. Keras'
Reshape layer cannot be used for this, since the converter merges it with the pooling.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshed.export.litert.converter_bugs import (
    add_buffer,
    add_tensor,
    code_of,
    feed,
    insert_before,
)
from tfshed.export.litert.flatbuffer import kind, parse, unparse, weight_uses


def end_sparse_part_at_pooling(content: bytes) -> bytes:
    """Returns the file with a RESHAPE before each 1x1 convolution that follows a MEAN.

    A file without sparse weights is returned unchanged.
    """
    model = parse(content)
    if not any(use.block for use in weight_uses(model)):
        return content
    changed = False
    for graph in model.subgraphs:
        pooled = {int(o) for op in graph.operators if kind(model, op) == "MEAN" for o in op.outputs}
        for operator in list(graph.operators):
            if kind(model, operator) == "CONV_2D" and int(operator.inputs[0]) in pooled:
                _reshape_before(model, graph, operator)
                changed = True
    return unparse(model) if changed else content


def _reshape_before(model: Any, graph: Any, operator: Any) -> None:
    from tensorflow.lite.python.schema_py_generated import (
        BuiltinOptions,
        OperatorT,
        ReshapeOptionsT,
        TensorType,
    )

    source = int(operator.inputs[0])
    before = graph.tensors[source]
    # The batch may be open; the other sizes of a pooled tensor are known.
    sizes = np.array([-1, *[int(n) for n in before.shape[1:]]], np.int32)
    shape = add_tensor(
        graph,
        before,
        b"_shape",
        type=TensorType.INT32,
        shape=np.array([len(sizes)], np.int32),
        shapeSignature=None,
        buffer=add_buffer(model, sizes.view(np.uint8)),
        quantization=None,
    )
    result = add_tensor(graph, before, b"_pooled", buffer=add_buffer(model, None))
    new = OperatorT()
    new.opcodeIndex = code_of(model, "RESHAPE", 1)
    new.inputs, new.outputs = np.array([source, shape], np.int32), np.array([result], np.int32)
    new.builtinOptionsType, new.builtinOptions = BuiltinOptions.ReshapeOptions, ReshapeOptionsT()
    new.builtinOptions.newShape = sizes
    insert_before(graph, operator, new)
    feed(operator, 0, result)
