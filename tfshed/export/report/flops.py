"""`flops`: multiplications and parameters of every layer of a model, with and without zeros."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras

from tfshed.attach.keras3.private import layers_in, own_weights
from tfshed.attach.kernels import candidates
from tfshed.core.backend import to_numpy
from tfshed.export.report.kernel_rows import positions
from tfshed.observe.in_notebooks import ShownInNotebooks
from tfshed.observe.text_table import text_table


@dataclasses.dataclass(frozen=True)
class LayerFlops:
    """One layer that has parameters.

    Attributes:
        name: of the layer.
        kind: the layer's class.
        macs: multiplications of its kernels on one example, each followed by an addition; None: it
            has kernels, and it is not known how often they are applied.
        macs_left: the same without the weights that are zero.
        parameters: numbers that are trained, biases and normalisation too; not statistics.
        parameters_left: the same without the weights of kernels that are zero.
    """

    name: str
    kind: str
    macs: int | None
    macs_left: int | None
    parameters: int
    parameters_left: int


@dataclasses.dataclass(frozen=True, repr=False)
class Flops(ShownInNotebooks):
    """What `flops` found; `str()` is the table.

    Attributes:
        name: the model's.
        layers: list of `LayerFlops`, in the order of the model.
        uncounted: names of the layers whose multiplications are not known and not in the sums.
        macs, macs_left, parameters, parameters_left: sums over all layers.
    """

    name: str
    layers: list[LayerFlops]

    @property
    def uncounted(self) -> list[str]:
        return [layer.name for layer in self.layers if layer.macs is None]

    @property
    def macs(self) -> int:
        return sum(layer.macs or 0 for layer in self.layers)

    @property
    def macs_left(self) -> int:
        return sum(layer.macs_left or 0 for layer in self.layers)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def parameters_left(self) -> int:
        return sum(layer.parameters_left for layer in self.layers)

    def __repr__(self) -> str:
        return (
            f"<Flops of {self.name}: {self.macs:,} multiply-adds, {self.macs_left:,} without zeros>"
        )

    def __str__(self) -> str:
        head = ["layer", "class", "multiply-adds", "without zeros", "parameters", "without zeros"]
        cells = [[row.name, row.kind, *_counts(row)] for row in self.layers]
        footer = ["total", "", *_counts(self)]
        lines = text_table(head, cells, right=(2, 3, 4, 5), footer=footer)
        if self.uncounted:
            lines.append(f"not counted, and not in the total: {', '.join(self.uncounted)}")
        return "\n".join([f"Multiply-adds of {self.name} on one example", *lines])


def _counts(of: Any) -> list[str]:
    numbers = (of.macs, of.macs_left, of.parameters, of.parameters_left)
    return ["?" if number is None else f"{number:,}" for number in numbers]


def flops(model: keras.Model) -> Flops:
    """Counts the multiplications of a model on one example, layer by layer.

    Counted are the multiply-adds of kernels, those of dense and convolutional layers, in all places
    where a layer is used: weights times positions of the output. Normalisation, activations,
    pooling and biases are not counted. This is what papers on pruning give as FLOPs; the number of
    floating-point operations is twice as large.

    "Without zeros" leaves the weights out that are zero, as if they took no time. Few machines can
    skip single weights (see `tfshed.export.report`); filters that are zero can be taken out of the
    net by `tfshed.export.shrink`.

    Args:
        model: A built functional or Sequential model of Keras 3. Of a subclassed model the
            parameters are counted, its multiplications are not known.

    Returns:
        A `Flops` with `.layers`, `.macs`, `.macs_left`, `.parameters`, `.parameters_left`; `print`
        shows it as a table.

    Raises:
        TypeError: `model` is not a Keras 3 model.
        ValueError: `model` is not built.

    >>> import keras, tfshed
    >>> layers = [keras.layers.Conv2D(4, 3, name="conv"), keras.layers.Flatten()]
    >>> net = keras.Sequential(
    ...     [keras.Input((8, 8, 1)), *layers, keras.layers.Dense(2, name="head")], name="net"
    ... )
    >>> found = tfshed.flops(tfshed.sparsify(net, 0.75, scope="layer"))
    >>> print(found)
    Multiply-adds of net on one example
    layer  class   multiply-adds  without zeros  parameters  without zeros
    ----------------------------------------------------------------------
    conv   Conv2D          1,296            324          40             13
    head   Dense             288             72         290             74
    ----------------------------------------------------------------------
    total                  1,584            396         330             87
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"model: expected a Keras model, received {type(model).__name__}")
    if not model.built:
        raise ValueError(
            f"model: expected a built model, received {model.name} without weights; call it once"
        )
    used = positions(model)
    kernels: dict[int, list[Any]] = {}
    for candidate in candidates(model):
        if candidate.named_as_kernel and candidate.own_name != "embeddings":
            kernels.setdefault(id(candidate.owner), []).append(candidate.kernel.variable)
    rows, seen = [], set()
    for layer in layers_in(model):
        weights = own_weights(layer)
        if id(layer) in seen or not weights:
            continue
        seen.add(id(layer))
        own = kernels.get(id(layer), [])
        size = sum(math.prod(v.shape) for v in own)
        left = sum(int((to_numpy(v) != 0).sum()) for v in own)
        every = sum(math.prod(v.shape) for v in weights)
        times = used.get(id(layer)) if own else 0
        rows.append(
            LayerFlops(
                layer.name,
                type(layer).__name__,
                macs=None if times is None else times * size,
                macs_left=None if times is None else times * left,
                parameters=every,
                parameters_left=every - size + left,
            )
        )
    return Flops(model.name, rows)
