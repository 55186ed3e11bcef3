"""`shrink`: a physically smaller model after filters have been pruned."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import keras
import numpy as np

from tfshed.attach.keras3.cloning import can_clone
from tfshed.attach.keras3.declarations import check_stripped
from tfshed.attach.keras3.private import graph_of, layers_in
from tfshed.export.formats import register_format
from tfshed.export.keras_file import keras as keras_file
from tfshed.export.shrink.layer_rules import RULES
from tfshed.export.shrink.rebuild import rebuild
from tfshed.export.shrink.shrink_report import LayerRow, Left, ShrinkReport, report
from tfshed.export.shrink.solve import solve
from tfshed.export.shrink.trace import trace
from tfshed.export.signature import BATCH, OPEN_DIMENSION

__all__ = ["Left", "LayerRow", "ShrinkReport", "Shrunk", "shrink"]

# Largest difference of outputs, relative to the largest output: sums over fewer terms are added up
# in another order, and nets amplify it. By the coarsest type that a layer computes in.
TOLERANCES = {"bfloat16": 0.1, "float16": 2e-2, "float32": 1e-4, "float64": 1e-4}


class Shrunk(NamedTuple):
    """The smaller model, and what was done and left."""

    model: Any
    report: ShrinkReport


def shrink(model: Any, *, verify: bool = True, tolerance: float | None = None) -> Shrunk:
    """Removes dead filters, and what depends on them, from a Sequential or functional model.

    A filter of nothing but zeros gives the same number everywhere, for each channel: 0, or what
    bias, BatchNorm and activation make of it. The channel goes, with its weights in all layers up
    to the next dense or convolutional ones, where its constant is added to the bias (which a layer
    gets if it had none). Where a constant that is not 0 meets zero padding, a bias would be wrong
    at the borders: there one channel of constants stays and carries those of all others. Channels
    that no later layer has a weight for go too. What hangs together goes together: the summands
    of a residual connection, the factors of a squeeze-and-excite block, a depthwise filter and its
    input.

    Left as they are, and listed with the reason: what feeds layers whose use of channels is not
    known (recurrent, attention, embeddings, custom layers, nested models, channels-first data,
    grouped convolutions), outputs of the model, and the last channel of every tensor.

    Args:
        model: a built Sequential or functional model, without pruning wrappers: after
            `strip_pruning`. It is not changed.
        verify: whether to compare the outputs of the two models on random inputs; default True.
        tolerance: the largest difference that `verify` lets pass, relative to the largest output
            of either. None: 1e-4 where all layers compute in float32, 0.02 with float16, 0.1
            with bfloat16.

    Returns:
        `Shrunk(model, report)`: a new model with the same inputs, outputs and names of layers, not
        compiled, and a `ShrinkReport`, whose `str()` is a table.

    Raises:
        TypeError: no Keras model, or a subclassed one.
        ValueError: not built, still wrapped, or a layer that cannot be made from its config.
        RuntimeError: the outputs differ by more than the tolerance.

    >>> import keras, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6), keras.layers.Dense(2)])
    >>> half = tfshed.Filter()
    >>> _ = tfshed.sparsify(net, 0.5, granularity=half, select=[(net.layers[1].name, False)])
    >>> smaller, report = shrink(net)
    >>> report.parameters
    (68, 35)
    """
    functional = _functional(model)
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance: expected a number >= 0 or None, received {tolerance!r}")
    traced = trace(functional, RULES)
    found = solve(traced)
    new = rebuild(model, traced, found)
    difference = _verify(model, new, functional.input, tolerance) if verify else None
    return Shrunk(new, report(model, new, functional, traced, found, difference))


@register_format("shrink")
def write_shrunk(
    model: Any, path: str | os.PathLike[str], *, overwrite: bool = False
) -> ShrinkReport:
    """Saves the smaller model that `tfshed.export.shrink` makes, as a `.keras` file."""
    smaller, found = shrink(model)
    keras_file(smaller, path, overwrite=overwrite)
    return found


def _functional(model: Any) -> Any:
    """The graph of a model that can be shrunk."""
    if not isinstance(model, keras.Model) or not can_clone(model):
        raise TypeError(
            "shrink: expected a Sequential or functional Keras model, received "
            f"{type(model).__name__}. A subclass may compute anything in its call: shrink the "
            "models it is made of."
        )
    functional = graph_of(model)
    if functional is None:
        raise ValueError(
            f"shrink: expected a built model, received {model.name!r} without weights. Give it a "
            "keras.Input, or call it once."
        )
    check_stripped(model, "shrink")
    return functional


def _verify(model: Any, new: Any, specs: Any, tolerance: float | None) -> float:
    """The largest difference of the outputs, relative to the largest output.

    Raises:
        RuntimeError: it exceeds the tolerance.
    """
    if tolerance is None:
        types = {layer.compute_dtype for layer in layers_in(model)}
        tolerance = max(TOLERANCES.get(t, 0.0) for t in types)
    inputs = keras.tree.map_structure(_example, specs)
    expected, received = (_outputs(x, inputs) for x in (model, new))
    worst = 0.0
    for a, b in zip(expected, received, strict=True):
        scale = max(float(np.max(np.abs(x), initial=0.0)) for x in (a, b))
        apart = float(np.max(np.abs(a - b), initial=0.0))
        worst = max(worst, apart / scale if apart else 0.0)
        if not apart <= tolerance * scale:
            raise RuntimeError(
                f"shrink: expected outputs of the smaller model within {tolerance:g} of those of "
                f"{model.name!r}, relative to the largest, received {apart / (scale or 1.0):.2g}. "
                "The model is as it was. Random numbers in the forward pass or a net that "
                "amplifies rounding would do this: pass tolerance or verify=False, and compare "
                "accuracies."
            )
    return worst


def _example(tensor: Any) -> Any:
    """Standard normal numbers, or 0 and 1 for integers, valid in every embedding."""
    random = np.random.default_rng(0)
    sizes = [BATCH] + [OPEN_DIMENSION] * (len(tensor.shape) - 1)
    shape = [o if s is None else s for s, o in zip(tensor.shape, sizes)]
    if keras.backend.is_float_dtype(tensor.dtype):
        return keras.ops.cast(random.standard_normal(shape).astype("float32"), tensor.dtype)
    return keras.ops.cast(random.integers(0, 2, shape).astype("int32"), tensor.dtype)


def _outputs(model: Any, inputs: Any) -> list[np.ndarray]:
    # A layer may write its state in inference too (a stateful RNN): the user's stays as it was.
    state = [(v, keras.ops.convert_to_numpy(v)) for v in model.non_trainable_variables]
    try:
        outputs = keras.tree.flatten(model(inputs, training=False))
    finally:
        for variable, value in state:
            variable.assign(value)
    as_numpy = keras.ops.convert_to_numpy
    return [np.asarray(as_numpy(keras.ops.cast(x, "float32")), "float64") for x in outputs]
