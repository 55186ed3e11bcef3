"""Makes a model smaller whose filters have been pruned, by removing their channels."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import keras
import numpy as np

from tfshed.attach.keras3.cloning import can_clone
from tfshed.attach.keras3.declarations import check_stripped
from tfshed.attach.keras3.private import graph_of, layers_in
from tfshed.export.example_inputs import BATCH, OPEN_DIMENSION
from tfshed.export.formats import register_format
from tfshed.export.keras_file import keras as keras_file
from tfshed.export.shrink.layer_rules import RULES
from tfshed.export.shrink.rebuild import rebuild
from tfshed.export.shrink.shrink_report import LayerRow, NotRemoved, ShrinkReport, report
from tfshed.export.shrink.solve import solve
from tfshed.export.shrink.trace import trace

__all__ = ["LayerRow", "NotRemoved", "ShrinkReport", "Shrunk", "shrink"]

# The largest allowed difference of outputs, relative to the largest output, for the coarsest dtype
# that any layer computes in. Sums over fewer terms are added up in another order, which rounds
# differently, and the net may amplify this.
TOLERANCES = {"bfloat16": 0.1, "float16": 2e-2, "float32": 1e-4, "float64": 1e-4}


class Shrunk(NamedTuple):
    """The smaller model, and a report on what was removed."""

    model: keras.Model
    report: ShrinkReport


def shrink(model: keras.Model, *, verify: bool = True, tolerance: float | None = None) -> Shrunk:
    """Removes filters that are all zero, and what depends on them, from a model.

    The output channel of such a filter is constant: it is 0, or what bias, BatchNorm and activation
    turn 0 into. The channel is removed from all layers up to the next dense or convolutional
    layers, and what it contributed to these is added to their bias (a layer without bias gets one).
    If a constant other than 0 meets zero padding, a bias would be wrong at the borders. In this
    case, one constant channel is kept, and the weights of the others are added to its weights.
    Channels for which no later layer has a weight are removed too. Channels that depend on each
    other are removed together or not at all: the summands of a residual connection, the factors of
    a squeeze-and-excite block, a depthwise filter and its input.

    The following are kept, and the report lists them with the reason: inputs of layers whose use of
    channels is not known (recurrent, attention, embeddings, custom layers, nested models,
    channels-first data, grouped convolutions), outputs of the model, and the last channel of every
    tensor.

    Args:
        model: A built Sequential or functional model without pruning wrappers (after
            `strip_pruning`). It is not changed.
        verify: Whether the outputs of the two models are compared on random inputs. Default True.
        tolerance: The largest difference that `verify` accepts, relative to the largest output of
            either model. Default None: 1e-4 if all layers compute in float32, 0.02 with float16,
            0.1 with bfloat16.

    Returns:
        `Shrunk(model, report)`: a new model, not compiled, with the same inputs, outputs and layer
        names, and a `ShrinkReport`, whose `str()` is a table.

    Raises:
        TypeError: `model` is no Keras model, or a subclassed one.
        ValueError: `model` is not built or has pruning wrappers, or a layer cannot be made from its
            config.
        RuntimeError: The outputs differ by more than the tolerance.

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
        raise ValueError(f"tolerance: expected a number >= 0 or None, received {tolerance!r}.")
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
            f"{type(model).__name__}. What a subclass computes in its call is unknown: shrink the "
            "functional models that it consists of."
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
    """Returns the largest difference of the outputs, relative to the largest output.

    Raises:
        RuntimeError: It exceeds the tolerance.
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
                "The model was not changed. This happens if the forward pass draws random numbers "
                "or amplifies rounding errors: pass tolerance or verify=False, and compare "
                "accuracies."
            )
    return worst


def _example(tensor: Any) -> Any:
    """A random input: standard normal floats, or integers 0 and 1, valid in most embeddings."""
    random = np.random.default_rng(0)
    sizes = [BATCH] + [OPEN_DIMENSION] * (len(tensor.shape) - 1)
    shape = [o if s is None else s for s, o in zip(tensor.shape, sizes)]
    if keras.backend.is_float_dtype(tensor.dtype):
        return keras.ops.cast(random.standard_normal(shape).astype("float32"), tensor.dtype)
    return keras.ops.cast(random.integers(0, 2, shape).astype("int32"), tensor.dtype)


def _outputs(model: Any, inputs: Any) -> list[np.ndarray]:
    # Some layers, such as a stateful RNN, write to their variables in inference too. The user's
    # model must not change.
    state = [(v, keras.ops.convert_to_numpy(v)) for v in model.non_trainable_variables]
    try:
        outputs = keras.tree.flatten(model(inputs, training=False))
    finally:
        for variable, value in state:
            variable.assign(value)
    as_numpy = keras.ops.convert_to_numpy
    return [np.asarray(as_numpy(keras.ops.cast(x, "float32")), "float64") for x in outputs]
