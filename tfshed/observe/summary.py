"""`summary`: how sparse each kernel of a model is, and which settings prune it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfshed.attach.agreement import disagreement
from tfshed.attach.decisions import decide
from tfshed.attach.declared import report_of
from tfshed.attach.keras3.declarations import declarations, frozen_kernels
from tfshed.attach.keras3.private import layers_in
from tfshed.attach.kernels import Candidate, candidates
from tfshed.attach.ownership import owner_of
from tfshed.attach.rules import Selection
from tfshed.core.backend import read, to_numpy
from tfshed.core.config import PruningConfig
from tfshed.observe.stored_weights import count_weights
from tfshed.observe.summary_table import KernelSparsity, Summary
from tfshed.observe.unique_names import unique_names


def summary(model: keras.Layer, print_fn: Callable[[str], None] | None = None) -> Summary:
    """Prints the sparsity of every kernel of a model, and how it is pruned or why it is not.

    The sparsity of a kernel is its fraction of zeros; the column "kept" is the fraction of weights
    (or blocks) that its mask keeps.

    Args:
        model: A built model or layer of Keras 3, pruned or not, trained or not.
        print_fn: A function that is called once with the whole text. None (default) means `print`.

    Returns:
        A `Summary` with `.rows`, `.declarations`, `.total_sparsity` and `.to_dict()`.

    Raises:
        TypeError: `model` is no Keras model or layer.
        ValueError: `model` is not built.

    >>> import keras, tfshed
    >>> dense = keras.layers.Dense(4, kernel_initializer="ones", name="head")
    >>> net = keras.Sequential([keras.Input((8,)), dense], name="net")
    >>> found = tfshed.summary(tfshed.sparsify(net, 0.75))
    Sparsity of net
    kernel           layer  shape   weights  non-zero  sparsity  kept  pruned
    -----------------------------------------------------------------------------------
    net/head/kernel  Dense  (8, 4)       32         8    75.00%        no: not declared
    -----------------------------------------------------------------------------------
    total                                32         8    75.00%
    >>> found.total_sparsity
    0.75
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"model: expected a Keras model or layer, received {type(model).__name__}")
    if not model.built:
        raise ValueError(f"model: expected a built model, received {model.name} without weights")
    found = candidates(model)
    declared = _declared(model, found)
    configs: dict[str, tuple[int, PruningConfig]] = {}
    for each in declared.values():
        configs.setdefault(each.key(), (len(configs), each))
    reasons = _reasons(model, found, [config for _, config in configs.values()])
    rows = []
    for c, path in zip(found, unique_names([c.kernel.path for c in found])):
        config, why = declared.get(id(c.kernel.variable)), reasons.get(id(c.kernel.variable))
        number = None if config is None else configs[config.key()][0]
        rows.append(_row(c, path, config, number, why or "not declared"))
    result = Summary(
        model.name,
        rows,
        [
            _description(config, [r for r in rows if r.pruning == i], found)
            for i, config in configs.values()
        ],
        str(disagreement([c.kernel for c in found]) or ""),
    )
    (print if print_fn is None else print_fn)(str(result))
    return result


def _declared(model: Any, found: list[Candidate]) -> dict[int, PruningConfig]:
    """The configuration of each kernel that is pruned, by the identity of its variable."""
    declared: dict[int, PruningConfig] = {}
    for config, kernels in declarations(model):
        for kernel in kernels:
            declared.setdefault(id(kernel.variable), config)
    # Nothing declared in the model, but an optimizer prunes it: KeepZeros, or groups made by hand.
    for c in found:
        owner = owner_of(c.kernel.variable)
        if owner is not None:
            declared.setdefault(id(c.kernel.variable), owner.state.config)
    return declared


def _reasons(model: Any, found: list[Candidate], configs: list[PruningConfig]) -> dict[int, str]:
    """Why kernels are left alone: what was said when the model was pruned, else what would be."""
    reasons: dict[int, str] = {}
    for decision in decide(model, configs[0], Selection()) if configs else ():
        if not decision.pruned:
            reasons[id(decision.kernel.variable)] = decision.reason
    layers = layers_in(model)
    said = {row.path: row for x in layers for row in report_of(x)}
    for c in found:
        row = said.get(c.kernel.path)
        if row is not None and not row.pruned:
            reasons[id(c.kernel.variable)] = row.reason
    for kernel in frozen_kernels(model):
        reasons[id(kernel.variable)] = "declared, frozen now: pruned as soon as it is trainable"
    return reasons


def _row(c: Candidate, path: str, config: Any, pruning: int | None, reason: str) -> KernelSparsity:
    variable, axes = c.kernel.variable, c.kernel.axes
    shape, weights, nonzero, remark = count_weights(c)
    kept = None
    if config is not None:
        owner = owner_of(variable)
        there = (
            to_numpy(owner.state.masks[owner.index])
            if owner is not None
            else to_numpy(config.granularity.magnitudes(read(variable), axes)) != 0
        )
        kept = float(np.mean(there))
    return KernelSparsity(
        path=path,
        layer=type(c.owner).__name__,
        shape=shape,
        weights=weights,
        nonzero=nonzero,
        sparsity=1.0 - nonzero / max(weights, 1),
        keep_ratio=kept,
        pruning=pruning,
        reason="" if config is not None else remark or reason,
        observed=config is not None and config.observe,
    )


def _description(
    config: PruningConfig, rows: list[KernelSparsity], found: list[Candidate]
) -> dict[str, Any]:
    owners = [owner_of(c.kernel.variable) for c in found]
    states = [owner.state for owner in owners if owner is not None]
    mine = [state for state in states if state.config.key() == config.key()]
    return {
        "kernels": len(rows),
        "weights": sum(row.weights for row in rows),
        "scope": config.scope,
        "criterion": repr(config.criterion),
        "granularity": repr(config.granularity),
        "schedule": repr(config.schedule),
        "final_sparsity": config.final_sparsity,
        "threshold": config.threshold,
        "grow_threshold": config.grow_threshold,
        "observe": config.observe,
        # None before there is an optimizer that prunes.
        "threshold_now": float(to_numpy(mine[0].threshold).max()) if mine else None,
        "target_now": float(to_numpy(mine[0].target)) if mine else None,
    }
