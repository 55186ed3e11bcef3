"""Pruning at once, without training."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from tfshed.attach.decisions import check_finite, check_some, check_trained, decide, pruned_kernels
from tfshed.attach.group import PruningGroup
from tfshed.attach.ownership import note_pruned
from tfshed.attach.rules import Selection
from tfshed.core import criteria, engine
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.granularity import Granularity
from tfshed.core.schedules import OneShot

# How many kernels a warning names.
MOST_NAMED = 10


def sparsify(
    model: Any,
    sparsity: float,
    *,
    scope: str = "global",
    criterion: Any = "magnitude",
    granularity: Granularity | str | None = None,
    select: Any = None,
    seed: int = 0,
) -> Any:
    """Prunes a model in place, once, by setting weights to exact zeros.

    Args:
        model: a built Keras model or layer.
        sparsity: float in [0, 1), the fraction of weights (blocks) that are zero afterwards; those
            that were zero before count. `NxM` brings its own: any sparsity above 0 will do.
        scope: "global" (default) or "layer".
        criterion, granularity, select, seed: as in `tfshed.prune_low_magnitude`.

    Returns:
        The same model. Train it on with `tfshed.KeepZeros()`.

    Warns:
        UserWarning: naming the kernels of which nothing is left, and how many they are.

    Raises:
        TypeError, ValueError: naming what was expected and what came; the weights are as they were.

    >>> import keras, numpy as np, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> _ = tfshed.sparsify(net, 0.75)
    >>> int(np.count_nonzero(net.get_weights()[0]))
    8
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"model: expected a Keras model or layer, received {type(model).__name__}")
    if not model.built:
        raise ValueError(f"model: expected a built model, received {model.name} without weights")
    config = PruningConfig(
        OneShot(sparsity),
        scope=scope,
        criterion=criteria.get(criterion, seed),
        granularity=granularity,
        threshold=0.0,
    )
    if config.criterion.needs or config.criterion.keeps:
        raise ValueError(
            "criterion: expected one that looks at weights alone, since nothing is trained here, "
            f"received {config.criterion!r}; use tfshed.prune_low_magnitude and train"
        )
    selection = Selection(select)
    decisions = decide(model, config, selection)
    selection.check_used([d.candidate for d in decisions])
    check_some(model, decisions)
    check_trained(model, decisions)
    check_finite(decisions)
    group = PruningGroup(config, pruned_kernels(decisions))
    weights = [ops.convert_to_tensor(to_numpy(k.variable)) for k in group.kernels]
    axes = [k.axes for k in group.kernels]
    masks = [ops.not_equal(config.granularity.magnitudes(w, ax), 0) for w, ax in zip(weights, axes)]
    none = ops.zeros((len(group.totals),), dtype="int32")
    threshold = ops.zeros((len(group.totals),), dtype="float32")
    before = engine.Totals(threshold, none, none, none, threshold)
    step = ops.convert_to_tensor(np.int32(0))
    seen = engine.contexts(config, weights, axes, step)
    new, _ = engine.update(config, seen, masks, group.scopes, before, sparsity)
    for kernel, weight, mask, ax in zip(group.kernels, weights, new, axes):
        kernel.variable.assign(engine.shed(config, weight, mask, None, ax)[1])
        note_pruned(kernel.variable)
    _tell_empty(group, sparsity)
    return model


def _tell_empty(group: PruningGroup, sparsity: float) -> None:
    """Warns of kernels in which nothing is left: a layer without weights passes nothing on."""
    empty = [k.path for k in group.kernels if not to_numpy(k.variable).any()]
    if empty:
        some = ", ".join(empty[:MOST_NAMED]) + (", ..." if len(empty) > MOST_NAMED else "")
        warnings.warn(
            f"nothing is left of {len(empty)} of {len(group.kernels)} kernels at sparsity "
            f"{sparsity}: {some}. A lower sparsity, scope='layer' or select=... leaves weights in "
            "each of them.",
            stacklevel=3,
        )
