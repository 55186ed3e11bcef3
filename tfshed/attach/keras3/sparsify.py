"""`sparsify`: prunes once, without training."""

from __future__ import annotations

import warnings

import keras
import numpy as np
from keras import ops

from tfshed.attach.decisions import check_finite, check_some, check_trained, decide, pruned_kernels
from tfshed.attach.group import PruningGroup
from tfshed.attach.keras3.declarations import observes
from tfshed.attach.ownership import note_pruned
from tfshed.attach.rules import Selection
from tfshed.attach.types import CriterionChoice, GivenLayer, Select
from tfshed.core import criteria, engine
from tfshed.core.backend import to_numpy
from tfshed.core.config import PruningConfig
from tfshed.core.granularity import Granularity
from tfshed.core.schedules import OneShot

# How many kernels a warning names.
MOST_NAMED = 10


def sparsify(
    model: GivenLayer,
    sparsity: float,
    *,
    scope: str = "global",
    criterion: CriterionChoice = "magnitude",
    granularity: Granularity | str | None = None,
    select: Select = None,
    seed: int = 0,
) -> GivenLayer:
    """Prunes a model in place, once and without training, by setting weights to exact zeros.

    The weights with the lowest scores become zero, so many that

        zero weights / all weights of the scope = sparsity.

    Args:
        model: A built model or layer of Keras 3.
        sparsity: The fraction of weights (or blocks) that are zero afterwards, at least 0 and below
            1. Weights that were zero before count. The granularity `NxM` has a sparsity of its own,
            for which any number above 0 stands.
        scope: "global" (default) ranks the weights of all kernels together; "layer" prunes each
            kernel to the same sparsity.
        criterion: A registered name such as "magnitude" (default) or "random", a dict of a name and
            arguments, or a `tfshed.criteria.Criterion` that needs no gradients.
        granularity: What is pruned as a whole, such as "4x1"; see `tfshed.prune_low_magnitude`.
            None (default) means single weights.
        select: Which kernels are pruned; see `tfshed.Selection`. None (default) means the kernels
            of all layers but depthwise ones and embeddings.
        seed: A whole number, default 0, for a criterion that draws numbers.

    Returns:
        The same model. `tfshed.KeepZeros()` keeps the zeros when it is trained.

    Warns:
        UserWarning: names the kernels in which no weight is left.

    Raises:
        TypeError: `model` is no Keras model or layer.
        ValueError: an argument is not what was expected. As with TypeError, no weight has changed.

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
    if observes(model):
        raise ValueError(
            f"model: expected one whose zeros training keeps, received {model.name}, declared with "
            "observe=True, which holds no weight at zero. Call strip_pruning(model) before."
        )
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
    _warn_of_empty(group, sparsity)
    return model


def _warn_of_empty(group: PruningGroup, sparsity: float) -> None:
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
