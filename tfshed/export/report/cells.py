"""The cells of the report's tables, which are the same in the text and on the HTML page."""

from __future__ import annotations

from tfshed.export.report.kernel_rows import KernelRow
from tfshed.export.report.sizes import Size

DENSE_RUNTIMES = (
    "TensorFlow, JAX, PyTorch, XLA and a loaded SavedModel multiply by zeros like by any other "
    "number, so no layer is faster there. NVIDIA's GPUs have sparse tensor cores for kernels in "
    "the 2:4 pattern, but these need other software (TensorRT)."
)
FLOOR = (
    "entropy floor: the bits for the positions of the non-zeros (of blocks or whole filters, if "
    "they lie so) plus the entropy of their exponents and mantissas. No file that stores each "
    "number by itself can be smaller."
)


PROCESSORS = (
    "Zeros that XNNPACK can skip: in browsers (WebAssembly) and on 32-bit ARM single weights or "
    "Block(4, 1), on 64-bit ARM (phones) single weights or Block(1, 4), on x86 with AVX none. "
    "Write the file with export.litert(..., batch_size=1), since LiteRT.js takes no open batch."
)
MARKS = {True: "yes", False: "NO", None: "depends"}
KERNEL_HEAD = ["kernel", "layer", "shape", "weights", "sparsity", "FLOPs", "without zeros", "zeros"]
VERDICT_HEAD = ["runtime", "faster", "why", "kernels"]
SIZE_HEAD = ["format", "bytes", "of float32"]


def kernel_cells(row: KernelRow) -> list[str]:
    """The cells of one kernel, in the columns of `KERNEL_HEAD`."""
    flops = ["" if n is None else f"{n:,}" for n in (row.flops, row.sparse_flops)]
    shape = "x".join(str(n) for n in row.shape)
    counts = [f"{row.weights:,}", f"{row.sparsity:.2%}", *flops]
    return [row.path, row.layer, shape, *counts, pattern(row)]


def pattern(row: KernelRow) -> str:
    """Names the pattern that the zeros of a kernel form.

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
    """The cells of one format, in the columns of `SIZE_HEAD`."""
    if size.size is None or size.share is None:
        return [size.text, "not possible", size.reason]
    return [size.text, f"{size.size:,}", f"{size.share:.3f}"]


def verdict_cells(rows: list[KernelRow]) -> list[list[str]]:
    """The cells of `VERDICT_HEAD`: a row for all kernels that have the same verdict.

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
            # The end of the report shows all of XNNPACK's conditions.
            reason = "conditions below not met" if v.reason.startswith("not: ") else v.reason
            groups.setdefault((v.runtime, "yes" if v.faster else "no", reason), []).append(row.path)
    return [
        [*key, paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")]
        for key, paths in sorted(groups.items(), key=lambda item: item[0][0])
    ]
