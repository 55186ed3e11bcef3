"""The words and numbers of the report's tables, as text and page show them."""

from __future__ import annotations

from tfshed.export.report.kernel_rows import KernelRow
from tfshed.export.report.sizes import Size

DENSE_RUNTIMES = (
    "TensorFlow, JAX and PyTorch, a loaded SavedModel and XLA compute all zeros: no layer is "
    "faster there. Kernels in the 2:4 pattern suit the sparse tensor cores of NVIDIA's GPUs, which "
    "need other software (TensorRT)."
)
FLOOR = (
    "entropy floor: the bits that say where the non-zeros are, in blocks and whole filters where "
    "they come so, and the entropy of their exponents and mantissas. No file that stores each "
    "number by itself is smaller."
)


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
