"""Makes the smaller model: new layers from changed configs, with the weights that remain."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshed.attach.keras3.cloning import clone
from tfshed.core.backend import to_numpy
from tfshed.export.shrink.solve import Solution
from tfshed.export.shrink.trace import Consumer, Trace


def rebuild(model: Any, trace: Trace, found: Solution) -> Any:
    """Returns a new model with the same layers and names, without the removed channels.

    Raises:
        ValueError: A layer cannot be made from its config.
    """
    pairs: list[tuple[Any, Any]] = []

    def replace(layer: Any) -> Any:
        try:
            new = type(layer).from_config(_config(layer, trace, found))
        except Exception as error:
            raise ValueError(
                f"shrink: expected layers that can be made from their get_config(), received "
                f"{layer.name!r} ({type(layer).__name__}): {error}. Give it get_config and "
                "from_config."
            ) from error
        pairs.append((layer, new))
        return new

    new = clone(model, replace)
    if not new.built:
        new.build(model.input_shape)
    for old, layer in pairs:
        _copy(old, layer, _weights(old, trace, found))
    return new


def _config(layer: Any, trace: Trace, found: Solution) -> dict[str, Any]:
    """The config of the smaller layer, with a bias if constants have to be added to one."""
    config = layer.get_config()
    resize = trace.resizes.get(id(layer))
    sizes = {} if resize is None else resize.sizes
    left = {name: int(found.keep(ids).sum()) for name, ids in sizes.items()}
    if "before" in left:
        config["padding"] = ((0, 0), (left["before"], left["after"]))
    elif "target_shape" in left:
        config["target_shape"] = (*layer.target_shape[:-1], left["target_shape"])
    else:
        config.update(left)
    consumer = trace.consumers.get(id(layer))
    if consumer is not None and _folded(consumer, found).any():
        config["use_bias"] = True
    return dict(config)


def _removed_constants(consumer: Consumer, found: Solution) -> np.ndarray:
    """Float64 (inputs,): the constants of removed channels, 0 for others."""
    going = ~found.keep(consumer.inputs)
    return np.where(going, np.nan_to_num(consumer.const, nan=0.0), 0.0)


def _folded(consumer: Consumer, found: Solution) -> np.ndarray:
    """Float64 (outputs,): what must be added to the bias."""
    gone = np.where(consumer.foldable, _removed_constants(consumer, found), 0.0)
    return consumer.response(gone)


def _weights(layer: Any, trace: Trace, found: Solution) -> dict[int, np.ndarray]:
    """The weights of the new layer, by the ids of the old variables; -1 stands for a new bias."""
    values = {id(v): to_numpy(v) for v in layer.variables}
    consumer = trace.consumers.get(id(layer))
    if consumer is not None:
        folded = _folded(consumer, found)
        if layer.bias is not None:
            values[id(layer.bias)] = values[id(layer.bias)] + folded
        elif folded.any():
            values[-1] = folded[found.keep(consumer.outputs)]
        if consumer.input_axis is not None:
            kernel = values[id(layer.kernel)]
            values[id(layer.kernel)] = _hosted(kernel, consumer, found)
    resize = trace.resizes.get(id(layer))
    for variable, axes in [] if resize is None else resize.slices:
        for axis, ids in axes.items():
            values[id(variable)] = np.compress(found.keep(ids), values[id(variable)], axis=axis)
    return values


def _hosted(kernel: np.ndarray, consumer: Consumer, found: Solution) -> np.ndarray:
    """The kernel, with the rows of removed channels added to those of their hosts."""
    assert consumer.input_axis is not None
    labels, going = found.labels[consumer.inputs], _removed_constants(consumer, found)
    # A channel that has a host for the sake of another layer may be unused here, or be added to
    # the bias.
    used = consumer.uses[:, found.keep(consumer.outputs)].any(axis=1)
    carried = np.flatnonzero((going != 0) & used & ~consumer.foldable)
    rows = np.moveaxis(kernel, consumer.input_axis, 0).astype("float64")
    for i in carried:
        # The host has the constant b, this channel a: adding a / b times the row of this channel to
        # the row of the host gives the same outputs.
        (host,) = np.flatnonzero(labels == found.host[labels[i]])
        rows[host] += rows[i] * (going[i] / consumer.const[host])
    return np.moveaxis(rows, 0, consumer.input_axis) if len(carried) else kernel


def _copy(old: Any, new: Any, values: dict[int, np.ndarray]) -> None:
    """Assigns the weights of the new layer."""
    added = new.bias if -1 in values else None
    if added is not None:
        added.assign(values[-1].astype("float32"))
    targets = [v for v in new.variables if v is not added]
    if len(targets) != len(old.variables):
        raise ValueError(
            f"shrink: expected a copy of {old.name!r} ({type(old).__name__}) with its "
            f"{len(old.variables)} variables, received {len(targets)}. Create them in __init__ or "
            "build."
        )
    for source, target in zip(old.variables, targets):
        target.assign(values[id(source)])
