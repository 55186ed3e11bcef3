"""What `tfshed.export.report` returns, as text, JSON and HTML."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tfshed.export.litert.layer_table import BATCHES
from tfshed.export.report.kernel_rows import KernelRow
from tfshed.export.report.runtimes import BLOCKS, Condition
from tfshed.export.report.sizes import Size
from tfshed.observe.text_table import text_table

DENSE_RUNTIMES = (
    "TensorFlow, JAX and PyTorch, a loaded SavedModel and XLA compute all zeros: no layer is "
    "faster there. Kernels in the 2:4 pattern suit the sparse tensor cores of NVIDIA's GPUs, which "
    "need other software (TensorRT)."
)
FLOOR = (
    "entropy floor: for each kernel the bits that say where its non-zeros are and 4 bytes for "
    "each. Zeros in blocks or whole filters take less, and exponents of values some percent less."
)


@dataclasses.dataclass(frozen=True, repr=False)
class Report:
    """What `tfshed.export.report` found; `str()` is `.text`.

    Attributes:
        name: the model's.
        parameters, nonzero: of the whole model, moving averages of normalisation among them.
        kernels: list of `KernelRow`, one for each kernel.
        flops, sparse_flops: of the kernels that are counted, 2 x multiplications on one example.
        sizes: list of `Size`.
        xnnpack: list of `Condition`, those of XNNPACK's sparse inference.
    """

    name: str
    parameters: int
    nonzero: int
    kernels: list[KernelRow]
    flops: int
    sparse_flops: int
    sizes: list[Size]
    xnnpack: list[Condition]

    @property
    def sparsity(self) -> float:
        """The fraction of zeros in the kernels."""
        weights = sum(row.weights for row in self.kernels)
        return 1.0 - sum(row.nonzero for row in self.kernels) / max(weights, 1)

    @property
    def uncounted(self) -> list[str]:
        """Paths of kernels whose operations are not counted."""
        return [row.path for row in self.kernels if row.flops is None]

    @property
    def text(self) -> str:
        """The report for a terminal."""
        return "\n".join(
            [
                f"Report on {self.name}",
                *self.totals(),
                "",
                *_kernel_table(self.kernels),
                "",
                "Sizes",
                *_size_table(self.sizes),
                FLOOR,
                "",
                "What can skip the zeros",
                *_verdict_table(self.kernels),
                DENSE_RUNTIMES,
                *([BATCHES] if self._has_blocks() else []),
                "",
                "XNNPACK's conditions for sparse 1x1 convolutions",
                *(f"  {MARKS[c.holds]:8}{c.name}: {c.found}" for c in self.xnnpack),
            ]
        )

    def totals(self) -> list[str]:
        """The first lines: parameters, sparsity, operations."""
        lines = [
            f"parameters: {self.parameters:,}, {self.nonzero:,} of them not zero",
            f"sparsity of the kernels: {self.sparsity:.2%}",
        ]
        if self.flops:
            share = self.sparse_flops / self.flops
            lines.append(
                f"FLOPs (2 x multiplications, one example): {self.flops:,} dense, "
                f"{self.sparse_flops:,} without zeros ({share:.3f})"
            )
        if self.uncounted:
            lines.append(f"FLOPs not counted: {', '.join(self.uncounted)}")
        return lines

    def notes(self) -> list[str]:
        return [DENSE_RUNTIMES, *([BATCHES] if self._has_blocks() else [])]

    def _has_blocks(self) -> bool:
        return any(v.faster and v.runtime == BLOCKS for r in self.kernels for v in r.runtimes)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        found = dataclasses.asdict(self)
        for row in found["kernels"]:
            row["shape"], row["runtimes"] = list(row["shape"]), list(row["runtimes"])
        return {**found, "sparsity": self.sparsity, "uncounted": self.uncounted}

    def to_json(self) -> str:
        """`to_dict` as a JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def html(self) -> str:
        """A page that needs nothing else, with a picture of the layers."""
        from tfshed.export.report.html_page import page

        return page(self)

    def __repr__(self) -> str:
        return f"<Report on {self.name}: {self.parameters:,} parameters, {self.sparsity:.2%} zeros>"

    def __str__(self) -> str:
        return self.text


MARKS = {True: "yes", False: "NO", None: "depends"}
KERNEL_HEAD = ["kernel", "layer", "shape", "weights", "sparsity", "FLOPs", "without zeros", "zeros"]
VERDICT_HEAD = ["runtime", "faster", "why", "kernels"]
SIZE_HEAD = ["format", "bytes", "of float32"]


def kernel_cells(row: KernelRow) -> list[str]:
    """What the table of kernels says of one, by `KERNEL_HEAD`."""
    flops = ["" if n is None else f"{n:,}" for n in (row.flops, row.sparse_flops)]
    shape = "x".join(str(n) for n in row.shape)
    counts = [f"{row.weights:,}", f"{row.sparsity:.2%}", *flops]
    return [row.path, row.layer, shape, *counts, pattern(row)]


def pattern(row: KernelRow) -> str:
    """How the zeros lie.

    >>> pattern(KernelRow("k", "Dense", (8, 8), 64, 16, 0.75, None, None, 2, 0.95, False))
    '4x1 blocks, 2 filters'
    """
    found = []
    if row.nonzero < row.weights:
        if row.blocks is not None and row.blocks >= 0.9:
            found.append("4x1 blocks")
        elif row.two_of_four:
            found.append("2:4")
        if row.dead:
            found.append(f"{row.dead} filters")
    return ", ".join(found) or ("single weights" if row.nonzero < row.weights else "none")


def size_cells(size: Size) -> list[str]:
    """What the table of sizes says of one, by `SIZE_HEAD`."""
    if size.size is None or size.share is None:
        return [size.text, "not possible", size.reason]
    return [size.text, f"{size.size:,}", f"{size.share:.3f}"]


def _kernel_table(rows: list[KernelRow]) -> list[str]:
    return text_table(KERNEL_HEAD, [*map(kernel_cells, rows)], right=(3, 4, 5, 6))


def _size_table(sizes: list[Size]) -> list[str]:
    table = [size_cells(size) for size in sizes]
    reasons = [f"{cells[0]}: {cells[2]}" for cells, s in zip(table, sizes) if s.size is None]
    cells = [[*c[:2], c[2] if s.size is not None else ""] for c, s in zip(table, sizes)]
    return [*text_table(SIZE_HEAD, cells, right=(1, 2)), *reasons]


def _verdict_table(rows: list[KernelRow]) -> list[str]:
    return text_table(VERDICT_HEAD, verdict_cells(rows))


def verdict_cells(rows: list[KernelRow]) -> list[list[str]]:
    """What runtimes do with the kernels, by `VERDICT_HEAD`; kernels with the same verdict as one.

    >>> from tfshed.export.report.kernel_rows import Verdict
    >>> verdict = Verdict("LiteRT, blocks", False, "dense")
    >>> rows = [
    ...     KernelRow(p, "Dense", (8,), 8, 8, 0.0, 1, 1, 0, None, False, (verdict,)) for p in "abc"
    ... ]
    >>> verdict_cells(rows)
    [['LiteRT, blocks', 'no', 'dense', 'a and 2 more']]
    """
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for v in row.runtimes:
            # XNNPACK's conditions stand in full at the end of the report.
            reason = "conditions below not met" if v.reason.startswith("not: ") else v.reason
            groups.setdefault((v.runtime, "yes" if v.faster else "no", reason), []).append(row.path)
    return [
        [*key, paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")]
        for key, paths in sorted(groups.items(), key=lambda item: item[0][0])
    ]
