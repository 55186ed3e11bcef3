"""Declares in models and layers of Keras 3 what is pruned."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.attach.decisions import (
    Decision,
    check_countable,
    check_finite,
    check_some,
    check_unpruned,
    decide,
    warn_declared,
    warn_nothing,
)
from tfshed.attach.declaration import Declaration
from tfshed.attach.declared import put_report
from tfshed.attach.declaring import checked, layers_to_prune, log_left_alone, wrapped
from tfshed.attach.keras3.cloning import can_clone, clone
from tfshed.attach.keras3.declarations import check_layer, declaring
from tfshed.attach.keras3.guard import declare_whole, guard
from tfshed.attach.keras3.private import layers_in
from tfshed.attach.keras3.wrapper import PruneLowMagnitude
from tfshed.attach.kernels import candidates
from tfshed.attach.policies import PruningPolicy
from tfshed.attach.rules import Selection
from tfshed.core.config import PruningConfig


def declare(to_prune: Any, config: PruningConfig, selection: Selection, **kwargs: Any) -> Any:
    """What `tfshed.prune_low_magnitude` does with a Keras 3 model, layer or list of layers."""
    is_model = isinstance(to_prune, keras.Model)
    layers = layers_to_prune(to_prune, check_layer, is_model, kwargs)
    if layers is None:
        return _declare_model(to_prune, config, selection)
    result = _wrap_layers(layers, config, selection, **kwargs)
    return result if isinstance(to_prune, (list, tuple)) else result[0]


def _wrap_layers(
    layers: list[Any], config: PruningConfig, selection: Selection, **kwargs: Any
) -> list[Any]:
    if all(isinstance(layer, PruneLowMagnitude) for layer in layers):
        warn_declared([layer.name for layer in layers], "Wrap its `layer`")
        return layers
    decisions: list[Decision] = []
    for layer in layers:
        if layer.built:
            decisions += decide(layer, config, selection, explicit=True)
        elif selection.rules:
            _refuse_rules(layer)
    wanted = checked(decisions, config, selection)
    result = [
        _wrap(layer, config, wanted, **kwargs)
        if layer.built
        else _wrap_unbuilt(layer, config, selection.policy, None, **kwargs)
        for layer in layers
    ]
    # Layers without kernels, and those that a policy forbids, pass by without a word: many call
    # this function for each layer of a model.
    unfit = [d for d in decisions if d.candidate.named_as_kernel and not d.by_policy]
    if unfit and all(layer is given for layer, given in zip(result, layers)):
        warn_nothing(", ".join(layer.name for layer in layers), unfit)
    return result


def _wrap(layer: Any, config: PruningConfig, wanted: set[int], **kwargs: Any) -> Any:
    """The layer wrapped, or itself where none of the wanted variables, by identity, is in it."""
    if isinstance(layer, PruneLowMagnitude):
        return layer
    return wrapped(layer, config, wanted, PruneLowMagnitude, **kwargs)


def _wrap_unbuilt(
    layer: Any, config: PruningConfig, policy: PruningPolicy | None, which: Any, **kwargs: Any
) -> Any:
    """The layer wrapped, or itself where it will have no kernels or the policy forbids it."""
    if isinstance(layer, PruneLowMagnitude) or not _may_have_kernels(layer):
        return layer
    if policy is not None and not policy.allow_pruning(layer):
        return layer
    return PruneLowMagnitude(layer, config, which, **kwargs)


def _may_have_kernels(layer: Any) -> bool:
    """Whether an unbuilt layer may get kernels; Keras' own without any are known by their class."""
    if hasattr(layer, "get_prunable_weights") or not type(layer).__module__.startswith("keras."):
        return True
    inside = layers_in(layer)
    return any(
        hasattr(x, name + "_initializer")
        for x in inside
        for name in ("kernel", "_kernel", "embeddings", "depthwise")
    )


def _declare_model(model: Any, config: PruningConfig, selection: Selection) -> Any:
    whole = not can_clone(model)
    declared = list(declaring(model))
    if not whole and not model.built and selection.rules:
        _refuse_rules(model)
    decisions = [] if whole and not model.built else decide(model, config, selection)
    wanted = {id(d.kernel.variable) for d in decisions if d.pruned}
    if model.built:
        selection.check_used([d.candidate for d in decisions])
    old = {id(c.kernel.variable) for layer in declared for c in candidates(layer)}
    if declared and (model in declared or (model.built and wanted <= old)):
        warn_declared([model.name], "Call strip_pruning(model) before")
        return model
    if model.built:
        check_some(model, decisions)
        if whole and not wanted:
            return model
    check_finite(decisions)
    check_countable(decisions, config)
    check_unpruned(decisions, config)
    if selection.policy is not None:
        selection.policy.ensure_model_supports_pruning(model)
    if whole:
        declare_whole(model, Declaration(config, selection))
        return model

    def replace(layer: Any) -> Any:
        if layer.built:
            return _wrap(layer, config, wanted)
        return _wrap_unbuilt(layer, config, selection.policy, "default")

    pruned = clone(model, replace)
    put_report(pruned, decisions)
    guard(pruned)
    log_left_alone(decisions)
    return pruned


def _refuse_rules(layer: Any) -> None:
    raise ValueError(
        "select: expected a built model or layer, whose kernels have names, received "
        f"{layer.name}, which is not built. Call build(input_shape) before, begin a model with "
        "keras.Input(shape), or leave select out."
    )
