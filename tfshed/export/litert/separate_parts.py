"""Ends parts of a sparse file that XNNPACK would compute wrong, or not load at all.

XNNPACK computes parts of a sparse file with the channels first, which are to end at a global
pooling. Interpreters with sparse kernels (ARM, WebAssembly) go wrong where they do not:

* A pooling that keeps its axes, followed by a 1x1 convolution or something else that fits the
  part, is taken for an operator inside of it. XNNPACK then gets the sizes of its output wrong and
  cannot prepare the file. A RESHAPE to the same shape behind the pooling ends the part there. (The
  Reshape layer of Keras does not do: the converter makes one operator of it and the pooling.)
* A 1x1 convolution whose output is concatenated, goes through a maximum pooling or is an output of
  the model leaves its channels first there, and outputs are wrong without a word. A RESHAPE behind
  the first convolution keeps XNNPACK from making a part of what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfshed.export.litert.converter_bugs import (
    add_buffer,
    add_tensor,
    code_of,
    feed,
    insert_before,
)
from tfshed.export.litert.flatbuffer import parse, unparse
from tfshed.export.litert.xnnpack import sparse_parts
from tfshed.export.litert.xnnpack_roles import APART


def separate_sparse_parts(content: bytes) -> bytes | None:
    """Returns the file with a RESHAPE wherever XNNPACK would not load it or compute it wrong.

    Files without sparse weights come back as they are. None: a RESHAPE would be needed where more
    sizes than that of the batch are open, which it cannot keep.
    """
    model = parse(content)
    changed = False
    # A part that was cut may have become two.
    while faults := list(_faults(model)):
        for fault in faults:
            for graph in model.subgraphs:
                if any(operator is fault for operator in graph.operators):
                    if _has_open_sizes(graph.tensors[int(fault.outputs[0])]):
                        return None
                    _reshape_behind(model, graph, fault)
        changed = True
    return unparse(model) if changed else content


def _faults(model: Any) -> Iterator[Any]:
    """Operators behind which a sparse part is to end."""
    for part in sparse_parts(model):
        # XNNPACK's threshold is 2/3; other versions of it may count other weights with these.
        if 2 * part.zeros > part.weights:
            yield from part.starts if part.leaks else part.poolings


def _has_open_sizes(tensor: Any) -> bool:
    """Whether other sizes than that of the batch are open."""
    sizes = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    return any(int(n) < 0 for n in sizes[1:])


def _reshape_behind(model: Any, graph: Any, operator: Any) -> None:
    from tensorflow.lite.python.schema_py_generated import (
        BuiltinOptions,
        OperatorT,
        ReshapeOptionsT,
        TensorType,
    )

    source = int(operator.outputs[0])
    before = graph.tensors[source]
    readers = [reader for reader in graph.operators if source in reader.inputs]
    # The batch may be open; the other sizes are known.
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
    result = add_tensor(graph, before, APART, buffer=add_buffer(model, None))
    new = OperatorT()
    new.opcodeIndex = code_of(model, "RESHAPE", 1)
    new.inputs, new.outputs = np.array([source, shape], np.int32), np.array([result], np.int32)
    new.builtinOptionsType, new.builtinOptions = BuiltinOptions.ReshapeOptions, ReshapeOptionsT()
    new.builtinOptions.newShape = sizes
    insert_before(graph, readers[0], new)
    for reader in readers:
        for position, index in enumerate(reader.inputs):
            if int(index) == source:
                feed(reader, position, result)
