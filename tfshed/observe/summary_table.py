"""What `tfshed.summary` returns, and how it is printed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from tfshed.observe.text_table import text_table

SCOPES = {
    "global": "one ranking over all kernels",
    "layer": "each kernel to the sparsity by itself",
}


@dataclasses.dataclass(frozen=True)
class KernelSparsity:
    """One kernel.

    Attributes:
        path, layer, shape: the variable's path, its layer's class, its shape.
        weights, nonzero: int, how many there are and how many are not zero.
        sparsity: float, the fraction of zeros.
        keep_ratio: float, the fraction the mask keeps of weights or blocks; None: not pruned.
        pruning: int, which declaration prunes it (in `Summary.declarations`); None: none does.
        reason: why it is left alone; "" if pruned.
    """

    path: str
    layer: str
    shape: tuple[int, ...]
    weights: int
    nonzero: int
    sparsity: float
    keep_ratio: float | None
    pruning: int | None
    reason: str


@dataclasses.dataclass(frozen=True, repr=False)
class Summary:
    """What `summary` found; `str()` is the table.

    Attributes:
        name: the model's.
        rows: list of `KernelSparsity`, in the order of the layers.
        declarations: list of dict, what each `prune_low_magnitude` came to: scope, criterion,
            granularity, schedule, threshold, ..., kernels and weights it prunes.
        disagreement: how many weights under the masks are not zero, in words; "" if none.
        weights, nonzero: int, over all kernels.
        total_sparsity: float, the fraction of zeros in all kernels, pruned or not.
        pruned_sparsity: float, the same in the kernels that are pruned; None: none is.
    """

    name: str
    rows: list[KernelSparsity]
    declarations: list[dict[str, Any]]
    disagreement: str = ""

    @property
    def weights(self) -> int:
        return sum(row.weights for row in self.rows)

    @property
    def nonzero(self) -> int:
        return sum(row.nonzero for row in self.rows)

    @property
    def total_sparsity(self) -> float:
        return _sparsity(self.rows) or 0.0

    @property
    def pruned_sparsity(self) -> float | None:
        return _sparsity([row for row in self.rows if row.pruning is not None])

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        rows = [{**dataclasses.asdict(row), "shape": list(row.shape)} for row in self.rows]
        return {
            "name": self.name,
            "total_sparsity": self.total_sparsity,
            "pruned_sparsity": self.pruned_sparsity,
            "weights": self.weights,
            "nonzero": self.nonzero,
            "rows": rows,
            "declarations": self.declarations,
            "disagreement": self.disagreement,
        }

    def __repr__(self) -> str:
        return (
            f"<Summary of {self.name}: {len(self.rows)} kernels, {self.total_sparsity:.2%} zeros>"
        )

    def __str__(self) -> str:
        head = ["kernel", "layer", "shape", "weights", "non-zero", "sparsity", "kept", "pruned"]
        total = ["total", "", "", f"{self.weights:,}", f"{self.nonzero:,}"]
        total += [f"{self.total_sparsity:.2%}", "", ""]
        cells = [_cells(row) for row in self.rows]
        lines = text_table(head, cells, right=(3, 4, 5, 6), footer=total)
        if self.pruned_sparsity is not None and any(row.pruning is None for row in self.rows):
            lines.append(f"sparsity of the pruned kernels alone: {self.pruned_sparsity:.2%}")
        if self.disagreement:
            lines.append(f"masks and weights disagree: {self.disagreement}")
        for i, found in enumerate(self.declarations):
            lines += ["", f"pruning {i}: {found['kernels']} kernels, {found['weights']:,} weights"]
            lines += [f"  {line}" for line in _lines(found)]
        return "\n".join([f"Sparsity of {self.name}", *lines])


def _lines(declaration: dict[str, Any]) -> Iterator[str]:
    get = declaration.__getitem__
    yield f"scope: {get('scope')} ({SCOPES[get('scope')]})"
    for name in ("criterion", "granularity", "schedule"):
        yield f"{name}: {get(name)}"
    grows = "grows with what is pruned" if get("grow_threshold") else "fixed"
    first = f"{get('threshold'):g}, {grows}" if get("threshold") else "0, nothing is shed"
    now = f"; now {get('threshold_now'):g}" if get("threshold_now") else ""
    yield f"threshold: {first}{now}"
    if get("target_now") is not None:
        yield f"target keep-ratio now: {get('target_now'):.4g}"


def _cells(row: KernelSparsity) -> list[str]:
    pruned = f"no: {row.reason}" if row.pruning is None else f"yes, pruning {row.pruning}"
    kept = "" if row.keep_ratio is None else f"{row.keep_ratio:.2%}"
    counts = [f"{row.weights:,}", f"{row.nonzero:,}", f"{row.sparsity:.2%}", kept]
    return [row.path, row.layer, str(row.shape), *counts, pruned]


def _sparsity(rows: list[KernelSparsity]) -> float | None:
    weights = sum(row.weights for row in rows)
    return 1.0 - sum(row.nonzero for row in rows) / weights if weights else None
