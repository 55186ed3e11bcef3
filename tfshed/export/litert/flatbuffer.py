"""Reads a LiteRT file (a flatbuffer): its operators, their weights and how these are stored."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

# For each operator that has weights, the position of the weights among its inputs.
WEIGHTS = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "FULLY_CONNECTED": 1,
    "CONV_3D": 1,
    "BATCH_MATMUL": 1,
    "TRANSPOSE_CONV": 1,
    "CONV_3D_TRANSPOSE": 1,
    "GATHER": 0,
    "EMBEDDING_LOOKUP": 1,
}
# The operators that turn stored weights into those that a layer's operator takes.
UNPACKING = ("DENSIFY", "DEQUANTIZE")


@dataclasses.dataclass(frozen=True, eq=False)
class WeightUse:
    """An operator and the stored weights that it uses.

    Attributes:
        graph: The subgraph of the file that holds both.
        operator: The operator, as an `OperatorT`.
        op: The name of the operator, such as "FULLY_CONNECTED".
        stored: The index of the stored tensor in the subgraph.
        unpacking: The operators between the stored tensor and this one: none, one or both of
            "DENSIFY" and "DEQUANTIZE", in this order.
    """

    graph: Any
    operator: Any
    op: str
    stored: int
    unpacking: tuple[str, ...]

    @property
    def tensor(self) -> Any:
        """The stored tensor, as a `TensorT`."""
        return self.graph.tensors[self.stored]

    @property
    def block(self) -> int:
        """The size of the blocks of non-zeros: 1 if they are stored singly, 0 if in full."""
        sparsity = self.tensor.sparsity
        if sparsity is None:
            return 0
        blocks = len(_list(sparsity.blockMap))
        return int(np.prod([d.denseSize for d in sparsity.dimMetadata[-blocks:]])) if blocks else 1


def parse(content: bytes) -> Any:
    """Parses the bytes of a file to a `ModelT`."""
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils.convert_bytearray_to_object(bytearray(content))


def unparse(model: Any) -> bytes:
    """Returns the bytes of a file from a `ModelT`."""
    from tensorflow.lite.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def kind(model: Any, operator: Any) -> str:
    """The name of an operator, such as "CONV_2D"."""
    from tensorflow.lite.tools import flatbuffer_utils

    return str(flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex))


def weight_uses(model: Any) -> list[WeightUse]:
    """All operators that use stored weights of two or more axes, in the order they run."""
    found = []
    for graph in model.subgraphs:
        producers = {int(o): op for op in graph.operators for o in _list(op.outputs)}
        for operator in graph.operators:
            op = kind(model, operator)
            if op not in WEIGHTS:
                continue
            index = int(operator.inputs[WEIGHTS[op]])
            unpacking: list[str] = []
            while index in producers and kind(model, producers[index]) in UNPACKING:
                unpacking.insert(0, kind(model, producers[index]))
                index = int(producers[index].inputs[0])
            tensor = graph.tensors[index]
            stored = index not in producers and data(model, tensor) is not None
            if stored and len(_list(tensor.shape)) >= 2:
                found.append(WeightUse(graph, operator, op, index, tuple(unpacking)))
    return found


def data(model: Any, tensor: Any) -> np.ndarray | None:
    """The bytes of a stored tensor, or None for one that is computed."""
    content = model.buffers[tensor.buffer].data
    return None if content is None or not len(content) else np.asarray(content, np.uint8)


def element(tensor: Any) -> np.dtype:
    """The dtype of a tensor: float32, float16 or int8 for weights."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    return np.dtype(names[tensor.type].lower())


def _list(value: Any) -> list[int]:
    return [] if value is None else [int(v) for v in value]
