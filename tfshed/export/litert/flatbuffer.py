"""Reads a LiteRT flatbuffer: which operator takes which stored weights, and how they are stored."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

# The input that holds the weights, of each operator that has any.
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
# How a stored tensor becomes the one that an operator takes.
UNPACKING = ("DENSIFY", "DEQUANTIZE")


@dataclasses.dataclass(frozen=True, eq=False)
class Use:
    """An operator and its stored weights.

    Attributes:
        graph: the subgraph.
        operator: the `OperatorT`, of kind `op`.
        op: such as "FULLY_CONNECTED".
        stored: index of the tensor in the file.
        unpacking: the operators between the two, ("DENSIFY", "DEQUANTIZE") in this order at most.
    """

    graph: Any
    operator: Any
    op: str
    stored: int
    unpacking: tuple[str, ...]

    @property
    def tensor(self) -> Any:
        return self.graph.tensors[self.stored]

    @property
    def block(self) -> int:
        """Elements of the blocks in which non-zeros are stored; 1: singly, 0: stored in full."""
        sparsity = self.tensor.sparsity
        if sparsity is None:
            return 0
        blocks = len(_list(sparsity.blockMap))
        return int(np.prod([d.denseSize for d in sparsity.dimMetadata[-blocks:]])) if blocks else 1


def parse(content: bytes) -> Any:
    """The file as a `ModelT`."""
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils.convert_bytearray_to_object(bytearray(content))


def unparse(model: Any) -> bytes:
    """The bytes of a `ModelT`."""
    from tensorflow.lite.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def kind(model: Any, operator: Any) -> str:
    """The name of an operator, such as "CONV_2D"."""
    from tensorflow.lite.tools import flatbuffer_utils

    return str(flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex))


def uses(model: Any) -> list[Use]:
    """All operators that take stored weights of two or more axes, as they run."""
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
                found.append(Use(graph, operator, op, index, tuple(unpacking)))
    return found


def data(model: Any, tensor: Any) -> np.ndarray | None:
    """The bytes of a stored tensor; None: it is computed."""
    content = model.buffers[tensor.buffer].data
    return None if content is None or not len(content) else np.asarray(content, np.uint8)


def element(tensor: Any) -> np.dtype:
    """The type of a tensor's elements, float32, float16 or int8 where they are weights."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    return np.dtype(names[tensor.type].lower())


def _list(value: Any) -> list[int]:
    return [] if value is None else [int(v) for v in value]
