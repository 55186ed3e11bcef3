"""The result of `tfshed.export.report`, which can be shown as text, JSON and HTML."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tfshed.export.litert.layer_table import BATCHES
from tfshed.export.report.cells import (
    DENSE_RUNTIMES,
    FLOOR,
    KERNEL_HEAD,
    MARKS,
    PROCESSORS,
    SIZE_HEAD,
    VERDICT_HEAD,
    kernel_cells,
    size_cells,
    verdict_cells,
)
from tfshed.export.report.html_page import page
from tfshed.export.report.kernel_rows import KernelRow
from tfshed.export.report.runtimes import BLOCKS, XNNPACK, Condition
from tfshed.export.report.sizes import Size
from tfshed.observe.in_notebooks import ShownInNotebooks
from tfshed.observe.text_table import text_table


@dataclasses.dataclass(frozen=True, repr=False)
class Report(ShownInNotebooks):
    """The result of `tfshed.export.report`. `str()` gives `.text`.

    Attributes:
        name: The name of the model.
        parameters, nonzero: The numbers in the whole model, including the moving averages of
            normalisation layers, and how many of them are not zero.
        kernels: A list with a `KernelRow` for each kernel.
        flops, sparse_flops: 2 x multiplications on one example, summed over the kernels for which
            they are known: of all weights, and of those that are not zero.
        sizes: A list with a `Size` for each format.
        xnnpack: A list with a `Condition` for each condition of XNNPACK's sparse inference.
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
                *([BATCHES] if self._runs_faster(BLOCKS) else []),
                "",
                "XNNPACK's conditions for sparse 1x1 convolutions",
                *(f"  {MARKS[c.holds]:8}{c.name}: {c.found}" for c in self.xnnpack),
                *([PROCESSORS] if self._runs_faster(XNNPACK) else []),
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
        """Sentences on what runtimes do with zeros."""
        return [
            DENSE_RUNTIMES,
            *([BATCHES] if self._runs_faster(BLOCKS) else []),
            *([PROCESSORS] if self._runs_faster(XNNPACK) else []),
        ]

    def _runs_faster(self, runtime: str) -> bool:
        return any(v.faster and v.runtime == runtime for r in self.kernels for v in r.runtimes)

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as values that JSON can hold."""
        found = dataclasses.asdict(self)
        for row in found["kernels"]:
            row["shape"], row["runtimes"] = list(row["shape"]), list(row["runtimes"])
        return {**found, "sparsity": self.sparsity, "uncounted": self.uncounted}

    def to_json(self) -> str:
        """`to_dict` as a JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def html(self) -> str:
        """Returns an HTML page in one file, with a picture of the layers."""
        return page(self.name, self.totals(), self.notes(), self.kernels, self.sizes, self.xnnpack)

    def __repr__(self) -> str:
        return f"<Report on {self.name}: {self.parameters:,} parameters, {self.sparsity:.2%} zeros>"

    def __str__(self) -> str:
        return self.text


def _kernel_table(rows: list[KernelRow]) -> list[str]:
    return text_table(KERNEL_HEAD, [*map(kernel_cells, rows)], right=(3, 4, 5, 6))


def _size_table(sizes: list[Size]) -> list[str]:
    table = [size_cells(size) for size in sizes]
    reasons = [f"{cells[0]}: {cells[2]}" for cells, s in zip(table, sizes) if s.size is None]
    cells = [[*c[:2], c[2] if s.size is not None else ""] for c, s in zip(table, sizes)]
    return [*text_table(SIZE_HEAD, cells, right=(1, 2)), *reasons]


def _verdict_table(rows: list[KernelRow]) -> list[str]:
    return text_table(VERDICT_HEAD, verdict_cells(rows))
