"""What `tfshed.summary` returns, and how it is printed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from tfshed.observe.in_notebooks import ShownInNotebooks
from tfshed.observe.text_table import text_table

SCOPES = {
    "global": "all kernels are ranked together",
    "layer": "each kernel is pruned to the same sparsity",
}


@dataclasses.dataclass(frozen=True)
class KernelSparsity:
    """One row of a summary: a kernel and its zeros.

    Attributes:
        path: The path of the variable, such as "net/head/kernel".
        layer: The class of the layer that made it.
        shape: The shape of the kernel.
        weights: The number of its weights.
        nonzero: The number of those that are not zero.
        sparsity: The fraction of zeros.
        keep_ratio: The fraction of weights (or blocks) that the mask keeps; None if the kernel is
            not pruned.
        pruning: The number of the declaration that prunes it, in `Summary.declarations`; None if
            none does.
        reason: Why the kernel is not pruned; empty if it is.
        observed: Whether its mask is a shadow mask: what the rule would keep, while no weight of
            the kernel is changed.
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
    observed: bool = False


@dataclasses.dataclass(frozen=True, repr=False)
class Summary(ShownInNotebooks):
    """What `summary` found; `str(summary)` is the table.

    Attributes:
        name: The name of the model.
        rows: One `KernelSparsity` for each kernel, in the order of the layers.
        declarations: One dict for each different declaration, with the settings in effect (scope,
            criterion, granularity, schedule, threshold, ...) and the numbers of kernels and of
            weights that they prune.
        disagreement: A sentence about weights that are not zero although their masks removed them;
            empty if there are none.
        weights: The number of weights of all kernels.
        nonzero: The number of those that are not zero.
        total_sparsity: The fraction of zeros in all kernels, pruned or not.
        pruned_sparsity: The fraction of zeros in the pruned kernels; None if no kernel is pruned.
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
        """Returns the whole summary as JSON values."""
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
    if get("observe"):
        yield "observe: only masks and counts change (shadow masks), no weight is pruned"
    if get("target_now") is not None:
        yield f"target keep-ratio now: {get('target_now'):.4g}"


def _cells(row: KernelSparsity) -> list[str]:
    yes = "observed" if row.observed else "yes"
    pruned = f"no: {row.reason}" if row.pruning is None else f"{yes}, pruning {row.pruning}"
    kept = "" if row.keep_ratio is None else f"{row.keep_ratio:.2%}"
    counts = [f"{row.weights:,}", f"{row.nonzero:,}", f"{row.sparsity:.2%}", kept]
    return [row.path, row.layer, str(row.shape), *counts, pruned]


def _sparsity(rows: list[KernelSparsity]) -> float | None:
    weights = sum(row.weights for row in rows)
    return 1.0 - sum(row.nonzero for row in rows) / weights if weights else None
