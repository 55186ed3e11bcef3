"""Counts the weights, zeros, patterns of zeros and operations of each kernel of a model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfshed.attach.keras3.private import graph_of, is_functional, nodes_of
from tfshed.attach.keras3.variables import is_pruning_wrapper
from tfshed.attach.kernels import Candidate, candidates
from tfshed.core.backend import to_numpy
from tfshed.export.shrink import kernel_rules
from tfshed.observe.unique_names import unique_names


@dataclasses.dataclass(frozen=True)
class KernelRow:
    """The numbers of one kernel.

    Attributes:
        path, layer, shape: The path of the variable, the class of its layer, and its shape.
        weights, nonzero: The number of weights, and of those that are not zero.
        sparsity: The fraction of zeros, from 0 to 1.
        flops, sparse_flops: 2 x multiplications on one example, of all weights and of those that
            are not zero. None if the layer is no dense or convolutional layer of the model's own
            graph, or has open sizes.
        dead: The number of output channels whose weights are all zero.
        blocks: The fraction of zeros that lie in whole blocks of 4 adjacent input channels of one
            output. None if the number of inputs is no multiple of 4.
        two_of_four: Whether every 4 adjacent input channels have 2 zeros or more.
        runtimes: A `Verdict` for each runtime that might skip the zeros.
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
    """Whether a runtime is faster by skipping the zeros of a layer, and the reason."""

    runtime: str
    faster: bool
    reason: str


def rows(model: Any) -> list[tuple[KernelRow, Any]]:
    """Returns a `KernelRow`, still without verdicts, and the layer, for each kernel."""
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
    # Groups of 4 adjacent input channels, along the last axis of `quads`.
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
    """Counts the positions of one example at which a layer's kernels are applied.

    Counted are dense and convolutional layers in the graph of a functional model and of the models
    inside it, over all uses of a layer. Layers with open sizes are left out.

    Returns:
        A dictionary from the id of a layer to the count.
    """
    counts: dict[int, int | None] = {}
    for node in _nodes(graph_of(model)):
        layer = node.operation
        if isinstance(layer, keras.layers.TimeDistributed):
            layer = layer.layer  # the layer inside is applied at each time step
        if is_pruning_wrapper(layer):
            layer = layer.layer
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
        # The first letter of the equation is the batch, which does not count.
        own = [sizes[letter] for letter in inputs[1:] if letter not in kernel]
        return None if None in own else math.prod(own)
    return None
