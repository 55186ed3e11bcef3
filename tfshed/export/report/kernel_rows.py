"""Kernels of a model: weights, zeros, the patterns they make, and operations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.private import graph_of, is_functional, nodes_of
from tfshed.attach.kernels import Candidate, candidates
from tfshed.core.backend import to_numpy
from tfshed.export.shrink import kernel_rules
from tfshed.observe.unique_names import unique_names


@dataclasses.dataclass(frozen=True)
class KernelRow:
    """One kernel.

    Attributes:
        path, layer, shape: the variable's path, its layer's class, its shape.
        weights, nonzero: how many there are and how many are not zero.
        sparsity: float, the fraction of zeros.
        flops, sparse_flops: 2 x multiplications on one example, all and those with non-zeros;
            None: it is no dense or convolutional layer of the model's own graph, or sizes are open.
        dead: output channels that are zero as a whole.
        blocks: float, the fraction of zeros that lie in whole blocks of 4 adjacent input channels
            of one output; None: the inputs are no multiple of 4.
        two_of_four: whether each 4 adjacent input channels have 2 zeros or more.
        runtimes: what can skip the zeros, as `Verdict`s.
    """

    path: str
    layer: str
    shape: tuple[int, ...]
    weights: int
    nonzero: int
    sparsity: float
    flops: int | None
    sparse_flops: int | None
    dead: int
    blocks: float | None
    two_of_four: bool
    runtimes: tuple[Verdict, ...] = ()


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a runtime can speed a layer up by its zeros, and why or why not."""

    runtime: str
    faster: bool
    reason: str


def rows(model: Any) -> list[tuple[KernelRow, Any]]:
    """A `KernelRow` without verdicts for each kernel, with the layer that owns it."""
    found = [c for c in candidates(model) if c.named_as_kernel]
    used = positions(model)
    paths = unique_names([c.kernel.path for c in found])
    return [(_row(c, p, used.get(id(c.owner))), c.owner) for c, p in zip(found, paths)]


def _row(candidate: Candidate, path: str, used: int | None) -> KernelRow:
    variable, axes = candidate.kernel.variable, candidate.kernel.axes
    kept = to_numpy(variable) != 0
    nonzero = int(np.count_nonzero(kept))
    dead = 0
    if axes.output is not None:
        others = tuple(i for i in range(kept.ndim) if i != axes.output)
        dead = int((~kept.any(axis=others)).sum())
    quads = None
    if axes.input is not None and kept.shape[axes.input] % 4 == 0:
        quads = np.moveaxis(kept, axes.input, -1).reshape(-1, 4)
    zeros = kept.size - nonzero
    return KernelRow(
        path=path,
        layer=type(candidate.owner).__name__,
        shape=tuple(variable.shape),
        weights=kept.size,
        nonzero=nonzero,
        sparsity=zeros / max(kept.size, 1),
        flops=None if used is None else 2 * used * kept.size,
        sparse_flops=None if used is None else 2 * used * nonzero,
        dead=dead,
        blocks=None if quads is None else 4 * int((~quads.any(1)).sum()) / max(zeros, 1),
        two_of_four=quads is not None and bool((quads.sum(1) <= 2).all()),
    )


def positions(model: Any) -> dict[int, int]:
    """How often a layer's kernels are applied to one example, over all its uses, by its id.

    Of dense and convolutional layers in the graph of a functional model and of models in it;
    layers with open sizes are left out.
    """
    counts: dict[int, int | None] = {}
    for node in _nodes(graph_of(model)):
        layer = node.operation
        if isinstance(layer, keras.layers.TimeDistributed):
            layer = layer.layer  # its axis of time is one more of positions
        now, before = _positions(layer, node), counts.get(id(layer), 0)
        counts[id(layer)] = None if now is None or before is None else before + now
    return {key: count for key, count in counts.items() if count is not None}


def _nodes(functional: Any) -> Iterator[Any]:
    if not is_functional(functional):
        return
    for node in nodes_of(functional):
        inner = graph_of(node.operation)
        if is_functional(inner):
            yield from _nodes(inner)
        elif not node.is_input:
            yield node


def _positions(layer: Any, node: Any) -> int | None:
    if type(layer).__name__ in kernel_rules.COUNTED:
        total = kernel_rules.flops(layer, node)
        size = sum(math.prod(v.shape) for v in layer.weights if v.name.endswith("kernel"))
        return None if total is None else total // (2 * size)
    equation = getattr(layer, "equation", None)
    if isinstance(equation, str) and "." not in equation:
        inputs, kernel = equation.replace(" ", "").split("->")[0].split(",")
        sizes = dict(zip(inputs, node.arguments.keras_tensors[0].shape))
        # The first letter is the batch.
        own = [sizes[letter] for letter in inputs[1:] if letter not in kernel]
        return None if None in own else math.prod(own)
    return None
