"""Whether the weights of a model are zero where the masks say so."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

from tfshed.attach.kernels import Kernel
from tfshed.attach.ownership import owner_of
from tfshed.core.backend import read, to_numpy


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """What a set of kernels and their masks differ in.

    Attributes:
        paths: of the kernels with weights that are not zero under the mask.
        weights_off: how many such weights there are.
        sparsity_of_weights: of all kernels that have masks.
        sparsity_of_masks: what the weights should have come to.
    """

    paths: list[str]
    weights_off: int
    sparsity_of_weights: float
    sparsity_of_masks: float

    def __str__(self) -> str:
        names = ", ".join(self.paths[:3]) + (", ..." if len(self.paths) > 3 else "")
        return (
            f"{self.weights_off} weights under the masks are not zero, in {names}: the weights "
            f"have a sparsity of {self.sparsity_of_weights:.4f}, the masks one of "
            f"{self.sparsity_of_masks:.4f}"
        )


def disagreement(kernels: Iterable[Kernel]) -> Disagreement | None:
    """Compares weights with the masks of their owners; None if they agree.

    Shadow masks (`observe=True`) remove nothing, so kernels that have them are left out. It is
    computed where the weights are, and read once.
    """
    owned = [(k, owner) for k in kernels if (owner := owner_of(k.variable)) is not None]
    found = [(k, owner) for k, owner in owned if not owner.state.config.observe]
    if not found:
        return None
    rows: list[Any] = []
    for kernel, owner in found:
        mask, there = owner.mask(kernel.variable, kernel.axes), read(kernel.variable) != 0
        off = ops.logical_and(ops.logical_not(mask), there)
        rows.append(ops.stack([_count(off), _count(there), _count(mask)]))
    counts = to_numpy(ops.stack(rows)).astype(np.int64)
    if not counts[:, 0].any():
        return None
    total = sum(int(np.prod(k.variable.shape)) for k, _ in found)
    off, there, kept = counts.sum(0).tolist()
    paths = [k.path for (k, _), row in zip(found, counts) if row[0]]
    return Disagreement(paths, off, 1 - there / total, 1 - kept / total)


def _count(x: Any) -> Any:
    return ops.sum(ops.cast(x, "int32"))
