"""Declares in models and layers of Keras 3 what is pruned."""

from __future__ import annotations

import logging
from typing import Any

import keras

from tfshed.attach.decisions import check_finite, check_some, decide
from tfshed.attach.declaration import Declaration
from tfshed.attach.declared import put_report
from tfshed.attach.keras3.cloning import can_clone, clone
from tfshed.attach.keras3.declarations import check_layer, declaring
from tfshed.attach.keras3.guard import declare_whole, guard
from tfshed.attach.keras3.wrapper import PruneLowMagnitude
from tfshed.attach.kernels import Candidate, candidates
from tfshed.attach.policies import PruningPolicy
from tfshed.attach.rules import Selection
from tfshed.core.config import PruningConfig

logger = logging.getLogger("tfshed")


def declare(to_prune: Any, config: PruningConfig, selection: Selection, **kwargs: Any) -> Any:
    """What `tfshed.prune_low_magnitude` does with a Keras 3 model, layer or list of layers."""
    single = isinstance(to_prune, keras.layers.Layer) and not isinstance(to_prune, keras.Model)
    if kwargs and not single:
        raise TypeError(f"prune_low_magnitude got unknown arguments {sorted(kwargs)}")
    if isinstance(to_prune, (list, tuple)):
        if not to_prune:
            raise ValueError(f"to_prune: expected at least one layer, received {to_prune!r}")
        for layer in to_prune:
            check_layer(layer)
        return _wrap_layers(list(to_prune), config, selection)
    check_layer(to_prune)
    if single:
        return _wrap_layers([to_prune], config, selection, **kwargs)[0]
    return _declare_model(to_prune, config, selection)


def _wrap_layers(
    layers: list[Any], config: PruningConfig, selection: Selection, **kwargs: Any
) -> list[Any]:
    if all(isinstance(layer, PruneLowMagnitude) for layer in layers):
        raise ValueError(
            "to_prune: expected a layer that is not wrapped yet, received "
            f"{[layer.name for layer in layers]}. Wrap its `layer` to prune it in another way."
        )
    seen: list[Candidate] = []
    wanted: set[int] = set()
    for layer in layers:
        if layer.built:
            decisions = decide(layer, config, selection, explicit=True)
            check_finite(decisions)
            seen += [d.candidate for d in decisions]
            wanted |= {id(d.kernel.variable) for d in decisions if d.pruned}
        elif selection.rules:
            raise ValueError(
                f"select: expected a built layer, whose kernels have names, received {layer.name}. "
                "Call layer.build(input_shape) before, or leave select out."
            )
    selection.check_used(seen)
    return [
        _wrap(layer, config, wanted, **kwargs)
        if layer.built
        else _wrap_unbuilt(layer, config, selection.policy, **kwargs)
        for layer in layers
    ]


def _wrap(layer: Any, config: PruningConfig, wanted: set[int], **kwargs: Any) -> Any:
    """The layer wrapped, or itself where none of the wanted variables, by identity, is in it."""
    if isinstance(layer, PruneLowMagnitude):
        return layer
    numbers = [i for i, c in enumerate(candidates(layer)) if id(c.kernel.variable) in wanted]
    return PruneLowMagnitude(layer, config, numbers, **kwargs) if numbers else layer


def _wrap_unbuilt(
    layer: Any, config: PruningConfig, policy: PruningPolicy | None, **kwargs: Any
) -> Any:
    if isinstance(layer, PruneLowMagnitude) or not _may_have_kernels(layer):
        return layer
    if policy is not None and not policy.allow_pruning(layer):
        return layer
    return PruneLowMagnitude(layer, config, **kwargs)


def _may_have_kernels(layer: Any) -> bool:
    """Whether an unbuilt layer may get kernels; Keras' own without any are known by their class."""
    if hasattr(layer, "get_prunable_weights") or not type(layer).__module__.startswith("keras."):
        return True
    inside = [layer, *layer._flatten_layers(include_self=False)]
    return any(
        hasattr(x, name + "_initializer")
        for x in inside
        for name in ("kernel", "_kernel", "embeddings", "depthwise")
    )


def _declare_model(model: Any, config: PruningConfig, selection: Selection) -> Any:
    subclassed = not can_clone(model)
    declared = list(declaring(model))
    old = {id(c.kernel.variable) for layer in declared for c in candidates(layer)}
    if not subclassed and not model.built:
        raise ValueError(
            f"to_prune: expected a built model, received {model.name} without an input shape. "
            "Begin it with keras.Input(shape), call model.build(input_shape), or wrap its layers."
        )
    decisions = decide(model, config, selection) if model.built else []
    wanted = {id(d.kernel.variable) for d in decisions if d.pruned}
    if model.built:
        selection.check_used([d.candidate for d in decisions])
        check_some(model, decisions)
        check_finite(decisions)
    if model in declared or (model.built and wanted <= old):
        raise ValueError(
            f"to_prune: expected a model with kernels that are not declared yet, received "
            f"{model.name}. Call strip_pruning(model) before, to prune them in another way."
        )
    if selection.policy is not None:
        selection.policy.ensure_model_supports_pruning(model)
    if subclassed:
        declare_whole(model, Declaration(config, selection))
        return model
    pruned = clone(model, lambda layer: _wrap(layer, config, wanted))
    put_report(pruned, decisions)
    guard(pruned)
    for d in decisions:
        if not d.pruned:
            logger.info("left alone: %s (%s): %s", d.path, d.layer, d.reason)
    return pruned
