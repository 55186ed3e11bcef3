"""The result of `tfshed.export.litert`: a table of how each layer's weights are stored and run."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfshed.attach.keras3.private import layers_in, own_state, own_weights
from tfshed.export.litert.flatbuffer import WeightUse, data, element, parse, weight_uses
from tfshed.export.litert.xnnpack import why_dense
from tfshed.observe.in_notebooks import ShownInNotebooks
from tfshed.observe.text_table import text_table

# The converter stores weights with fewer zeros than this dense.
FEWEST_ZEROS = 0.3
SPARSE_OPS = ("CONV_2D", "FULLY_CONNECTED")
SPARSE = "sparse"
IN_FLOAT32, FROM_INT8 = ", computed in float32", ", int8 activations"
# Measured by benchmarks/litert_latency.py with one thread, layers of 1024 x 1024, 85 % zeros.
BATCHES = (
    "The 1x4 kernel runs one example after the other, dense kernels run many at a time. "
    "Relative to the dense file it took 0.3 of the time at batch size 1, 0.9 at 8, 1.1 at 16, 1.5 "
    "at 32 and 1.6 at 64 (x86 with AVX-512). From batch size 16 on, a dense file "
    "(sparse=False) is faster."
)
BATCHES_INT8 = (
    "Relative to the dense file, the 1x16 kernel for int8 weights took 0.3 of the time at batch "
    "size 1, 0.5 at 2, 0.8 at 4, 1.5 at 8 and 3.9 at 64 (x86 with AVX-512). From batch size 8 on, "
    "a dense file (sparse=False) is faster."
)
BATCHES_FULL_INT8 = (
    "The 1x16 kernel for int8 activations makes the file smaller, but not faster. Relative to the "
    "dense file it took 1.2 times as long at batch size 1, 1.9 times at 2 and 23 times at 64 (x86 "
    "with AVX-512). For speed use sparse=False, or leave representative_data out."
)
FLOAT_FOR_INT8 = (
    "Layers whose int8 weights are stored sparse compute in float32, which takes 3 to 8 times as "
    "long as dense int8 on x86 with AVX-512. For speed use sparse=False."
)
WHERE = "where it has sparse kernels (ARM, WebAssembly, RISC-V; on x86 only without AVX)"
OPEN_BATCH = (
    "The batch is open: TensorFlow Lite's interpreters take any batch, but LiteRT.js and LiteRT's "
    "CompiledModel refuse the file. batch_size=1 fixes it."
)


@dataclasses.dataclass(frozen=True)
class OperatorRow:
    """How the weights of one operator are stored and run.

    Attributes:
        name: The name of the Keras layer, or of the tensor if no layer is recognised.
        op: LiteRT's operator, such as "FULLY_CONNECTED".
        shape: The shape of the weights in the file, output channels first.
        dtype: Their dtype in the file: "float32", "float16" or "int8".
        sparsity: The fraction of zeros, from 0 to 1.
        size: Their bytes in the file, the positions of non-zeros included.
        runs: "1x4 blocks" or "1x16 blocks" (by a kernel that skips zeros), "densified" (stored
            sparse and expanded before it runs) or "dense".
        reason: Why it runs like this.
        xnnpack: For a 1x1 convolution "sparse" if XNNPACK runs it sparse where it has sparse
            kernels, otherwise the reason why it does not. "" for all other operators.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    sparsity: float
    size: int
    runs: str
    reason: str
    xnnpack: str = ""


@dataclasses.dataclass(frozen=True, repr=False)
class LiteRTReport(ShownInNotebooks):
    """The result of `tfshed.export.litert`. `str()` gives a table, `os.fspath()` the file's path.

    Attributes:
        path: The path of the file.
        name: The name of the model.
        values: The dtype of the weights: "float32", "float16" or "int8".
        size: The bytes of the file.
        dense_size: The bytes of the dense file of the same dtype.
        rows: A list of `OperatorRow`, in the order in which the operators run.
        difference: The largest difference of the outputs from the model's, relative to the largest
            output, on random inputs or the first batch of `representative_data`. None if not
            verified.
        dense_difference: The same for the dense file; None if not measured.
        open_batch: Whether the file takes batches of any size.
    """

    path: Path
    name: str
    values: str
    size: int
    dense_size: int
    rows: list[OperatorRow]
    difference: float | None
    dense_difference: float | None
    open_batch: bool = True

    def __fspath__(self) -> str:
        return str(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as values that JSON can hold."""
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
        return "\n".join([*lines, *self._xnnpack(), *self._notes()])

    def _xnnpack(self) -> list[str]:
        """What XNNPACK does with the 1x1 convolutions, those it runs dense by reason."""
        pointwise = [row for row in self.rows if row.xnnpack]
        sparse = [row for row in pointwise if row.xnnpack == SPARSE]
        if not pointwise or not any(row.runs != "dense" for row in self.rows):
            return []
        lines = [
            f"XNNPACK runs {len(sparse)} of {len(pointwise)} 1x1 convolutions sparse, {WHERE}."
        ]
        reasons: dict[str, list[str]] = {}
        for row in pointwise:
            if row.xnnpack != SPARSE:
                reasons.setdefault(row.xnnpack, []).append(row.name)
        for reason, names in reasons.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            lines.append(f"  {names[0]}{more} dense: {reason}")
        return lines

    def _notes(self) -> list[str]:
        found = {row.runs for row in self.rows}
        full = any(row.reason.endswith(FROM_INT8) for row in self.rows)
        floats = any(r.dtype == "int8" and r.reason.endswith(IN_FLOAT32) for r in self.rows)
        notes = {
            BATCHES: "1x4 blocks" in found,
            BATCHES_INT8: "1x16 blocks" in found and not full,
            BATCHES_FULL_INT8: full,
            FLOAT_FOR_INT8: floats,
            OPEN_BATCH: self.open_batch,
        }
        return [note for note, holds in notes.items() if holds]


def rows(content: bytes, model: Any, sparse: bool, in_full: str = "") -> list[OperatorRow]:
    """Returns a row for each operator with weights, in the order in which they run.

    Args:
        content: The bytes of the file.
        model: The Keras model, by which operators get the names of layers.
        sparse: Whether the user asked for sparse storage.
        in_full: The operators that had to be stored in full, separated by ", ".
    """
    file = parse(content)
    layers: dict[str, set[int]] = {}
    for layer in layers_in(model):
        own = [*own_weights(layer), *own_state(layer)]
        layers.setdefault(layer.name, set()).update(math.prod(v.shape) for v in own)
    dense = why_dense(file)
    return [
        dataclasses.replace(
            _row(file, use, layers, sparse, in_full),
            xnnpack=(dense[id(use.operator)] or SPARSE) if id(use.operator) in dense else "",
        )
        for use in weight_uses(file)
    ]


def _row(
    file: Any, use: WeightUse, layers: dict[str, set[int]], sparse: bool, in_full: str
) -> OperatorRow:
    tensor = use.tensor
    shape = tuple(int(n) for n in tensor.shape)
    stored = data(file, tensor)
    assert stored is not None  # `weight_uses` returns stored tensors only
    size = math.prod(shape)
    zeros = 1.0 - np.count_nonzero(stored.view(element(tensor))) / size
    runs, reason = _runs(file, use, zeros, sparse, in_full)
    # The converter merges equal constants and drops their names. The name of the operator's result
    # then tells the layer.
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
    """The bytes of the positions of non-zeros in a sparse tensor."""
    if tensor.sparsity is None:
        return 0
    vectors = [v for d in tensor.sparsity.dimMetadata for v in (d.arraySegments, d.arrayIndices)]
    return sum(
        len(v.values) * {"Uint8": 1, "Uint16": 2, "Int32": 4}[type(v).__name__.split("Vector")[0]]
        for v in vectors
        if v is not None
    )


def _runs(file: Any, use: WeightUse, zeros: float, sparse: bool, in_full: str) -> tuple[str, str]:
    """How an operator runs, and the reason: the `runs` and `reason` of its row."""
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
        return "dense", "interpreters would give other outputs if it were stored sparse"
    if use.op not in SPARSE_OPS:
        return "dense", f"LiteRT stores no sparse weights of {use.op}"
    if zeros < FEWEST_ZEROS:
        return "dense", f"less than {FEWEST_ZEROS:.0%} zeros"
    if values == np.int8 and into == np.int8:
        return "dense", "interpreters refuse sparse int8 unless it is in blocks of 16 inputs"
    return "dense", "it would not be smaller if stored sparse, or the converter cannot do so"


def layer_name(tensors: list[str], size: int, layers: dict[str, set[int]]) -> str:
    """Guesses the layer that an operator came from.

    It is the innermost layer that is named in one of the tensors and has as many weights. If there
    is none, it is the only layer with as many weights, or else the name of the tensor is returned.
    TensorFlow numbers name scopes and JAX does not, so "dense_1" may mean that layer or "dense".

    Args:
        tensors: The names of the operator's tensors.
        size: The number of weights.
        layers: For each layer, by name, the numbers of weights of its variables.

    >>> layer_name(["net_1/dense_1/MatMul;net_1/dense_1/Relu"], 8, {"dense": {8}, "dense_1": {8}})
    'dense'
    """
    for scopes in ";".join(tensors).split(";"):
        on_jax = scopes.startswith("jit(")
        for part in reversed(scopes.split("/")):
            # On TensorFlow the name without a number is tried first, on JAX the name as it is.
            names = [re.sub(r"_\d+$", "", part), part]
            for name in reversed(names) if on_jax else names:
                if size in layers.get(name, ()):
                    return name
    same = [name for name, sizes in layers.items() if size in sizes]
    return same[0] if len(same) == 1 else tensors[0].split(";")[0]
