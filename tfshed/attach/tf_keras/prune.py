"""`prune_low_magnitude` and `strip_pruning` for tf_keras."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from tfshed.attach import notices
from tfshed.attach.decisions import (
    Decision,
    check_countable,
    check_finite,
    check_some,
    check_unpruned,
    decide,
    warn_declared,
)
from tfshed.attach.declaring import checked, layers_to_prune, log_left_alone, wrapped
from tfshed.attach.kernels import candidates
from tfshed.attach.rules import Selection
from tfshed.attach.tf_keras.bind import bind
from tfshed.attach.tf_keras.private import (
    copy_input_shape,
    is_functional,
    layers_in,
    never_has_kernels,
    set_untracked,
)
from tfshed.attach.tf_keras.real import pruning_wrapper, tf_keras
from tfshed.attach.tf_keras.wrapped import reasons_to_skip, wrappers_of
from tfshed.attach.tf_keras.wrapper import PruneLowMagnitude
from tfshed.core.config import PruningConfig


def prune(to_prune: Any, config: PruningConfig, selection: Selection, **kwargs: Any) -> Any:
    """What `tfshed.prune_low_magnitude` does with a tf_keras model, layer or list of layers."""
    is_model = isinstance(to_prune, tf_keras.Model)
    layers = layers_to_prune(to_prune, _check_layer, is_model, kwargs)
    if layers is None:
        return _prune_model(to_prune, config, selection)
    result = _wrap_layers(layers, config, selection, **kwargs)
    return result if isinstance(to_prune, (list, tuple)) else result[0]


def _check_layer(layer: Any) -> None:
    if not isinstance(layer, tf_keras.layers.Layer):
        raise TypeError(
            "to_prune: expected a Keras model, a Keras layer or a list of layers, all of one "
            f"Keras, received {type(layer).__module__}.{type(layer).__name__}"
        )


def _wrap_layers(
    layers: list[Any], config: PruningConfig, selection: Selection, **kwargs: Any
) -> list[Any]:
    if all(isinstance(layer, pruning_wrapper.PruneLowMagnitude) for layer in layers):
        warn_declared([layer.name for layer in layers], "Wrap its `layer`")
        return layers
    decisions: list[Decision] = []
    for layer in layers:
        if candidates(layer):
            decisions += decide(layer, config, selection, explicit=True)
        elif selection.rules and not layer.built:
            raise ValueError(
                f"select: expected a built layer, whose kernels have names, received {layer.name}. "
                "Call layer.build(input_shape) before, or leave select out."
            )
    wanted = checked(decisions, config, selection)
    _check_some_fit(layers, config)
    policy = selection.policy
    result = []
    for layer in layers:
        if layer.built and candidates(layer):
            result.append(_wrap(layer, config, wanted, **kwargs))
        elif isinstance(layer, (pruning_wrapper.PruneLowMagnitude, tf_keras.layers.InputLayer)) or (
            policy is not None and not policy.allow_pruning(layer)
        ):
            result.append(layer)
        else:
            result.append(PruneLowMagnitude(layer, config, **kwargs) if _may_grow(layer) else layer)
    return result


def _check_some_fit(layers: list[Any], config: PruningConfig) -> None:
    """Raises ValueError where layers have kernels, but none of a shape that can be pruned so."""
    kernels = [c for layer in layers for c in candidates(layer) if c.named_as_kernel]
    reasons = [pair for layer in layers for pair in reasons_to_skip(layer, config)]
    if kernels and len(reasons) == len(kernels) and not any(map(_may_grow, layers)):
        told = "; ".join(f"{path}: {reason}" for path, reason in reasons)
        raise ValueError(
            f"to_prune: expected a layer with a kernel that fits {config.granularity!r}, received "
            f"{[layer.name for layer in layers]}: {told}"
        )


def _may_grow(layer: Any) -> bool:
    """Whether a layer without kernels may get some; tfmot's registry knows which never do."""
    depthwise = isinstance(layer, tf_keras.layers.DepthwiseConv2D)
    return not layer.built and (depthwise or not never_has_kernels(layer))


def _wrap(layer: Any, config: PruningConfig, wanted: set[int], **kwargs: Any) -> Any:
    """The layer wrapped, or itself where none of the wanted variables, by identity, is in it."""
    if isinstance(layer, pruning_wrapper.PruneLowMagnitude):
        return layer
    return wrapped(layer, config, wanted, PruneLowMagnitude, **kwargs)


def _prune_model(model: Any, config: PruningConfig, selection: Selection) -> Any:
    if not _can_clone(model):
        raise ValueError(
            "to_prune: expected a Sequential or functional model of tf_keras, received the "
            f"subclassed {type(model).__name__}. Wrap the layers that it makes: "
            "prune_low_magnitude(layer, ...)."
        )
    if not model.built:
        return _prune_unbuilt(model, config, selection)
    decisions = decide(model, config, selection)
    selection.check_used([d.candidate for d in decisions])
    check_some(model, decisions)
    check_finite(decisions)
    check_countable(decisions, config)
    check_unpruned(decisions, config)
    wanted = {id(d.kernel.variable) for d in decisions if d.pruned}
    old = {id(c.kernel.variable) for w in wrappers_of(model) for c in candidates(w)}
    if wanted and wanted <= old:
        warn_declared([model.name], "Call strip_pruning(model) before")
        return model
    if selection.policy is not None:
        selection.policy.ensure_model_supports_pruning(model)
    pruned = clone(model, lambda layer: _wrap(layer, config, wanted))
    log_left_alone(decisions)
    _bind_when_trained(pruned)
    return pruned


def _prune_unbuilt(model: Any, config: PruningConfig, selection: Selection) -> Any:
    """A Sequential model that is not built: its layers are wrapped, as tfmot does it."""
    pruned = tf_keras.Sequential(_wrap_layers(model.layers, config, selection), name=model.name)
    _bind_when_trained(pruned)
    return pruned


def _bind_when_trained(model: Any) -> None:
    """Lets `fit` prune with tfmot's own callback too, which knows nothing of optimizers."""
    make = model.make_train_function

    def bound(*args: Any, **kwargs: Any) -> Any:
        bind(model)
        return make(*args, **kwargs)

    set_untracked(model, make_train_function=bound)


def _can_clone(model: Any) -> bool:
    return isinstance(model, tf_keras.Sequential) or is_functional(model)


def clone(model: Any, replace: Callable[[Any], Any], done: dict[int, Any] | None = None) -> Any:
    """A new model of the same layers, each through `replace`, nested models too; not compiled."""
    done = {} if done is None else done

    def one(layer: Any) -> Any:
        if id(layer) not in done:
            nested = isinstance(layer, tf_keras.Model) and _can_clone(layer)
            done[id(layer)] = clone(layer, replace, done) if nested else replace(layer)
        return done[id(layer)]

    return tf_keras.models.clone_model(model, clone_function=one)


def strip(model: Any) -> Any:
    """What `tfshed.strip_pruning` does with a tf_keras model."""
    if not isinstance(model, tf_keras.Model):
        raise TypeError(
            f"model: expected a Keras model, received {type(model).__module__}."
            f"{type(model).__name__}"
        )
    if not _can_clone(model):
        raise TypeError(
            "model: expected a Sequential or functional model of tf_keras, received the subclassed "
            f"{type(model).__name__}. Its wrappers have the plain layers as `.layer`."
        )
    wrappers = [
        layer
        for layer in layers_in(model, include_self=False)
        if isinstance(layer, pruning_wrapper.PruneLowMagnitude)
    ]
    own = [wrapper for wrapper in wrappers if isinstance(wrapper, PruneLowMagnitude)]
    if any(wrapper.config.observe for wrapper in own):
        warnings.warn(notices.nothing_was_pruned(model.name), stacklevel=3)
    wrong = [path for wrapper in own for path in wrapper.not_zero_under_masks()]
    if wrong:
        text = notices.not_zero_under_masks(
            wrong,
            "They stay as they are, so that the model computes what it did. To prune them again, "
            "call wrapper.pruning_obj.weight_mask_op() for each of "
            "tfshed.tfmot.collect_prunable_layers(model) before.",
        )
        warnings.warn(f"strip_pruning: {text}", stacklevel=3)
    for wrapper in wrappers:
        if wrapper not in own and wrapper.pruning_obj is not None:
            wrapper.pruning_obj.weight_mask_op()
    for wrapper in own:
        wrapper.note_pruned()
    for hook in {id(w.hook): w.hook for w in own if w.hook is not None}.values():
        hook.release()
        model.train_function = model.train_tf_function = None
    return clone(model, _unwrapped)


def _unwrapped(layer: Any) -> Any:
    if not isinstance(layer, pruning_wrapper.PruneLowMagnitude):
        return layer
    copy_input_shape(layer, layer.layer)
    return layer.layer
