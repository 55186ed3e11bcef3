"""What `tfshed.export.litert` returns: a table of how each layer's weights are stored and run."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfshed.attach.keras3.private import layers_in, own_state, own_weights
from tfshed.export.litert.flatbuffer import Use, data, element, parse, uses
from tfshed.observe.text_table import text_table

# Where the converter does not store sparse what has fewer zeros.
FEWEST_ZEROS = 0.3
SPARSE_OPS = ("CONV_2D", "FULLY_CONNECTED")
IN_FLOAT32, FROM_INT8 = ", computed in float32", ", int8 activations"
# Measured by benchmarks/litert_latency.py with one thread, layers of 1024 x 1024, 85 % zeros.
BATCHES = (
    "The 1x4 kernel takes one example after the other, dense kernels many at a time. Of the "
    "dense file's time it took 0.3 at batch 1, 0.9 at 8, 1.1 at 16, 1.5 at 32 and 1.6 at 64 "
    "(x86 with AVX-512): from batch 16 on dense wins, and sparse=False writes it."
)
BATCHES_INT8 = (
    "The 1x16 kernel for int8 weights took of the dense file's time 0.3 at batch 1, 0.5 at 2, 0.8 "
    "at 4, 1.5 at 8 and 3.9 at 64 (x86 with AVX-512): from batch 8 on dense wins."
)
BATCHES_FULL_INT8 = (
    "The 1x16 kernel for int8 activations makes the file smaller, not faster: 1.2 of the dense "
    "file's time at batch 1, 1.9 at 2, 23 at 64 (x86 with AVX-512). For speed use sparse=False, or "
    "leave representative_data out."
)
FLOAT_FOR_INT8 = (
    "int8 weights that are stored sparse are computed in float32, at 3 to 8 times the time of "
    "dense int8 on x86 with AVX-512. For speed use sparse=False."
)


@dataclasses.dataclass(frozen=True)
class OperatorRow:
    """The weights of one operator.

    Attributes:
        name: of the Keras layer, or of the tensor where no layer is recognised.
        op: LiteRT's operator, such as "FULLY_CONNECTED".
        shape: of the weights in the file, output channels first.
        dtype: of their values in the file: "float32", "float16" or "int8".
        sparsity: float, the fraction of zeros.
        size: bytes in the file, positions of non-zeros included.
        runs: "1x4 blocks" or "1x16 blocks" (a kernel that skips zeros), "densified" (stored sparse,
            expanded before it runs) or "dense".
        reason: why.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    sparsity: float
    size: int
    runs: str
    reason: str


@dataclasses.dataclass(frozen=True, repr=False)
class LiteRTReport:
    """What `tfshed.export.litert` wrote; `str()` is the table, `os.fspath()` the file.

    Attributes:
        path: of the file.
        name: the model's.
        values: "float32", "float16" or "int8".
        size: bytes of the file.
        dense_size: bytes of the dense file with the same values.
        rows: list of `OperatorRow`, in the order in which the operators run.
        difference: the largest difference of the outputs from the model's, relative to the largest
            output, on random inputs or the first batch of `representative_data`; None: not
            verified.
        dense_difference: that of the dense file; None: not measured.
    """

    path: Path
    name: str
    values: str
    size: int
    dense_size: int
    rows: list[OperatorRow]
    difference: float | None
    dense_difference: float | None

    def __fspath__(self) -> str:
        return str(self.path)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        rows = [{**dataclasses.asdict(row), "shape": list(row.shape)} for row in self.rows]
        return {**dataclasses.asdict(self), "path": str(self.path), "rows": rows}

    def __repr__(self) -> str:
        return f"<LiteRTReport of {self.name}: {self.size:,} bytes at {self.path}>"

    def __str__(self) -> str:
        head = ["layer", "operator", "weights", "values", "sparsity", "bytes", "runs"]
        body = [
            [
                row.name,
                row.op,
                "x".join(str(n) for n in row.shape),
                row.dtype,
                f"{row.sparsity:.2%}",
                f"{row.size:,}",
                f"{row.runs}: {row.reason}",
            ]
            for row in self.rows
        ]
        lines = text_table(head, body, right=(4, 5))
        lines.insert(0, f"LiteRT file of {self.name}, {self.values}")
        ratio = self.size / self.dense_size
        lines += [f"{self.size:,} bytes, {ratio:.3f} of the dense file's {self.dense_size:,}"]
        if self.difference is None:
            lines.append("outputs not compared")
        else:
            more = self.dense_difference
            dense = "" if more is None else f" (dense file: {more:.1e})"
            lines.append(f"largest difference of the outputs: {self.difference:.1e}{dense}")
        return "\n".join([*lines, *self._notes()])

    def _notes(self) -> list[str]:
        found = {row.runs for row in self.rows}
        full = any(row.reason.endswith(FROM_INT8) for row in self.rows)
        floats = any(r.dtype == "int8" and r.reason.endswith(IN_FLOAT32) for r in self.rows)
        notes = {
            BATCHES: "1x4 blocks" in found,
            BATCHES_INT8: "1x16 blocks" in found and not full,
            BATCHES_FULL_INT8: full,
            FLOAT_FOR_INT8: floats,
        }
        return [note for note, holds in notes.items() if holds]


def rows(content: bytes, model: Any, sparse: bool, in_full: str = "") -> list[OperatorRow]:
    """One row for each operator with weights, in the order in which they run."""
    file = parse(content)
    layers: dict[str, set[int]] = {}
    for layer in layers_in(model):
        own = [*own_weights(layer), *own_state(layer)]
        layers.setdefault(layer.name, set()).update(math.prod(v.shape) for v in own)
    return [_row(file, use, layers, sparse, in_full) for use in uses(file)]


def _row(
    file: Any, use: Use, layers: dict[str, set[int]], sparse: bool, in_full: str
) -> OperatorRow:
    tensor = use.tensor
    shape = tuple(int(n) for n in tensor.shape)
    stored = data(file, tensor)
    assert stored is not None  # `uses` gives no others
    size = math.prod(shape)
    zeros = 1.0 - np.count_nonzero(stored.view(element(tensor))) / size
    runs, reason = _runs(file, use, zeros, sparse, in_full)
    # Constants that are equal, or used twice, lose their names: then the result's tells the layer.
    result = use.graph.tensors[int(use.operator.outputs[0])]
    return OperatorRow(
        layer_name([tensor.name.decode(), result.name.decode()], size, layers),
        use.op,
        shape,
        element(tensor).name,
        zeros,
        len(stored) + _positions(tensor),
        runs,
        reason,
    )


def _positions(tensor: Any) -> int:
    """Bytes that say where the non-zeros of a sparse tensor are."""
    if tensor.sparsity is None:
        return 0
    vectors = [v for d in tensor.sparsity.dimMetadata for v in (d.arraySegments, d.arrayIndices)]
    return sum(
        len(v.values) * {"Uint8": 1, "Uint16": 2, "Int32": 4}[type(v).__name__.split("Vector")[0]]
        for v in vectors
        if v is not None
    )


def _runs(file: Any, use: Use, zeros: float, sparse: bool, in_full: str) -> tuple[str, str]:
    into = element(use.graph.tensors[int(use.operator.inputs[0])])
    values = element(use.tensor)
    if use.block and not use.unpacking:
        how = FROM_INT8 if into == np.int8 else ""
        return f"1x{use.block} blocks", f"a kernel that skips blocks of zeros{how}"
    if use.block:
        how = IN_FLOAT32 if "DEQUANTIZE" in use.unpacking else ""
        if use.op != "FULLY_CONNECTED":
            return "densified", f"LiteRT's own convolutions are dense{how}"
        if values == np.float32:
            return "densified", "too few of its zeros are in blocks of 4 inputs"
        return "densified", f"LiteRT has no block kernel for {values} here{how}"
    if not sparse:
        return "dense", "sparse=False"
    if use.op in in_full.split(", "):
        return "dense", "stored sparse, interpreters do not give the model's outputs"
    if use.op not in SPARSE_OPS:
        return "dense", f"LiteRT stores no sparse weights of {use.op}"
    if zeros < FEWEST_ZEROS:
        return "dense", f"less than {FEWEST_ZEROS:.0%} zeros"
    if values == np.int8 and into == np.int8:
        return "dense", "interpreters refuse sparse int8 other than in blocks of 16 inputs"
    return "dense", "stored sparse it would not be smaller, or the converter has no way to"


def layer_name(tensors: list[str], size: int, layers: dict[str, set[int]]) -> str:
    """The innermost layer named in one of the tensors that has as many weights.

    Else the only layer with so many, else the tensor's name.

    TensorFlow numbers name scopes, JAX does not: "dense_1" may be that layer or "dense".

    >>> layer_name(["net_1/dense_1/MatMul;net_1/dense_1/Relu"], 8, {"dense": {8}, "dense_1": {8}})
    'dense'
    """
    for scopes in ";".join(tensors).split(";"):
        on_jax = scopes.startswith("jit(")
        for part in reversed(scopes.split("/")):
            names = [re.sub(r"_\d+$", "", part), part]
            for name in reversed(names) if on_jax else names:
                if size in layers.get(name, ()):
                    return name
    same = [name for name, sizes in layers.items() if size in sizes]
    return same[0] if len(same) == 1 else tensors[0].split(";")[0]
