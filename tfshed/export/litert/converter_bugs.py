"""Repairs the files that LiteRT's converter writes for sparse weights next to others.

The defects were observed with the converter of TensorFlow 2.21. The files were run by TensorFlow's
interpreter and by ai-edge-litert 2.3, both with XNNPACK, which is their default:

* All dense layers of a file have the same operator version. XNNPACK leaves layers of version 8 to
  the kernels for blocks. In a layer of any other version it mistakes the packed values of blocks
  for all weights, and outputs are wrong or NaN. The repair gives version 8 to layers stored in
  blocks and another to the rest, which XNNPACK then runs.
* float16 weights in blocks of 4: `DEQUANTIZE` reads the sparse tensor, and outputs are NaN. The
  repair inserts a `DENSIFY` before it.
* int8 weights stored singly, float activations: XNNPACK refuses the file. The repair inserts a
  `DEQUANTIZE` after the `DENSIFY`. The weights are then expanded once, when XNNPACK prepares the
  graph, and the layer computes in float32.
* int8 weights of dense layers stored singly, int8 activations: ai-edge-litert refuses the file. The
  repair stores these weights in full.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tfshed.export.litert.flatbuffer import (
    WEIGHTS,
    WeightUse,
    data,
    element,
    kind,
    parse,
    unparse,
    weight_uses,
)

# The version of FULLY_CONNECTED that introduced sparse weights, and the last one before it.
SPARSE_VERSION, DENSE_VERSION = 8, 7


def mend_file(content: bytes) -> bytes:
    """Returns a repaired file that every interpreter runs; the same bytes if it was right."""
    model = parse(content)
    changed = False
    full: dict[tuple[int, int], int] = {}  # weights that several layers share are stored once
    for use in weight_uses(model):
        position = WEIGHTS[use.op]
        if not use.block or element(use.tensor) == np.float32:
            continue
        if element(use.tensor) == np.float16:
            if "DENSIFY" not in use.unpacking:
                # One DEQUANTIZE may serve several layers; it is repaired with the first of them.
                for reader in [o for o in use.graph.operators if use.stored in o.inputs]:
                    if kind(model, reader) == "DEQUANTIZE":
                        feed(reader, 0, _densify(model, use, reader))
                        changed = True
        elif not use.unpacking:
            continue  # stored in blocks that a kernel can run
        elif element(use.graph.tensors[int(use.operator.inputs[0])]) == np.float32:
            dense = int(use.operator.inputs[position])
            feed(use.operator, position, _dequantize(model, use, dense))
            changed = True
        elif use.op == "FULLY_CONNECTED" and use.block == 1:
            if (id(use.graph), use.stored) not in full:
                full[id(use.graph), use.stored] = _stored_in_full(model, use)
            feed(use.operator, position, full[id(use.graph), use.stored])
            changed = True
    if not _versions(model) and not changed:
        return content
    drop_unused(model)
    return unparse(model)


def _versions(model: Any) -> bool:
    """Gives version 8 to the dense layers stored in blocks only; returns whether any changed."""
    changed = False
    for use in weight_uses(model):
        code = model.operatorCodes[use.operator.opcodeIndex]
        in_blocks = bool(use.block and not use.unpacking)
        if use.op == "FULLY_CONNECTED" and in_blocks != (code.version == SPARSE_VERSION):
            version = SPARSE_VERSION if in_blocks else DENSE_VERSION
            use.operator.opcodeIndex = code_of(model, use.op, version)
            changed = True
    return changed


def code_of(model: Any, name: str, version: int) -> int:
    """The index of the operator code of this name and version, which is added if missing."""
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator, OperatorCodeT

    number = getattr(BuiltinOperator, name)
    codes = [(code.builtinCode, code.version) for code in model.operatorCodes]
    if (number, version) in codes:
        return codes.index((number, version))
    code = OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _densify(model: Any, use: WeightUse, before: Any) -> int:
    """Inserts a DENSIFY of the stored weights; returns the index of its result."""
    new = add_tensor(
        use.graph, use.tensor, b"_dense", buffer=add_buffer(model, None), sparsity=None
    )
    return _operator(model, use.graph, before, "DENSIFY", use.stored, new)


def _dequantize(model: Any, use: WeightUse, index: int) -> int:
    """Inserts a DEQUANTIZE of the tensor at `index`; returns the index of its result."""
    from tensorflow.lite.python.schema_py_generated import TensorType

    new = add_tensor(
        use.graph,
        use.tensor,
        b"_float",
        buffer=add_buffer(model, None),
        sparsity=None,
        quantization=None,
        type=TensorType.FLOAT32,
    )
    return _operator(model, use.graph, use.operator, "DEQUANTIZE", index, new)


def _stored_in_full(model: Any, use: WeightUse) -> int:
    """Adds a tensor that holds the sparse weights in full; returns its index."""
    # The sparse tensor is in the CSR format: row i has its non-zeros in the columns
    # `columns[starts[i]:starts[i + 1]]`.
    tensor, rows = use.tensor, use.tensor.sparsity.dimMetadata[1]
    starts, columns = (np.asarray(x.values) for x in (rows.arraySegments, rows.arrayIndices))
    stored = data(model, tensor)
    full = np.zeros([int(n) for n in tensor.shape], element(tensor))
    if stored is not None:
        full[np.repeat(np.arange(len(full)), np.diff(starts)), columns] = stored.view(full.dtype)
    buffer = add_buffer(model, full.view(np.uint8).reshape(-1))
    return add_tensor(use.graph, tensor, b"_full", buffer=buffer, sparsity=None)


def feed(operator: Any, position: int, index: int) -> None:
    """Makes an operator read the tensor at `index` as its input at `position`."""
    inputs = np.array(operator.inputs, np.int32)
    inputs[position] = index
    operator.inputs = inputs


def add_buffer(model: Any, content: np.ndarray | None) -> int:
    """Adds a buffer, for stored bytes or (None) a computed tensor; returns its index."""
    from tensorflow.lite.python.schema_py_generated import BufferT

    buffer = BufferT()
    buffer.data = content
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def add_tensor(graph: Any, like: Any, suffix: bytes, **changes: Any) -> int:
    """Adds a copy of the tensor `like` with a longer name and these changes; returns its index."""
    new = copy.copy(like)
    new.name = like.name + suffix
    for name, value in changes.items():
        setattr(new, name, value)
    graph.tensors.append(new)
    return len(graph.tensors) - 1


def _operator(model: Any, graph: Any, before: Any, name: str, source: int, result: int) -> int:
    """Inserts an operator with one input and one output before another; returns `result`."""
    from tensorflow.lite.python.schema_py_generated import OperatorT

    new = OperatorT()
    # DEQUANTIZE of int8 by channel has version 5; DENSIFY has one version only.
    new.opcodeIndex = code_of(model, name, 5 if name == "DEQUANTIZE" else 1)
    new.inputs, new.outputs = np.array([source], np.int32), np.array([result], np.int32)
    insert_before(graph, before, new)
    return result


def insert_before(graph: Any, before: Any, new: Any) -> None:
    """Inserts an operator before another one of its graph."""
    # `list.index` would compare operators by all of their fields.
    place = next(i for i, operator in enumerate(graph.operators) if operator is before)
    graph.operators.insert(place, new)


def drop_unused(model: Any) -> None:
    """Removes the `DENSIFY` operators whose result nothing reads, and their stored weights."""
    for graph in model.subgraphs:
        read = {int(i) for operator in graph.operators for i in operator.inputs}
        graph.operators = [
            operator
            for operator in graph.operators
            if kind(model, operator) != "DENSIFY" or int(operator.outputs[0]) in read
        ]
    kept = set()
    for graph in model.subgraphs:
        read = {int(i) for operator in graph.operators for i in operator.inputs}
        read |= {int(i) for i in graph.outputs}
        kept |= {graph.tensors[i].buffer for i in read if i >= 0}
        for i, tensor in enumerate(graph.tensors):
            if i not in read:
                tensor.sparsity = None
    # Metadata, such as the version of the runtime, are in buffers too, which no operator reads.
    for metadata in model.metadata or []:
        kept.add(metadata.buffer)
    for i, buffer in enumerate(model.buffers):
        if i not in kept:
            buffer.data = None
