"""`strip_pruning`: turns a wrapped model into the plain model again."""

from __future__ import annotations

import warnings

import keras

from tfshed.attach.agreement import disagreement
from tfshed.attach.declared import withdraw
from tfshed.attach.keras3 import private
from tfshed.attach.keras3.cloning import can_clone, clone
from tfshed.attach.keras3.declarations import check_layer, observes
from tfshed.attach.keras3.guard import unguard
from tfshed.attach.keras3.wrapper import PruneLowMagnitude
from tfshed.attach.keras3.wrapping import unwrap_optimizers
from tfshed.attach.kernels import candidates
from tfshed.attach.notices import nothing_was_pruned
from tfshed.attach.ownership import release
from tfshed.attach.types import AnyModel
from tfshed.attach.which_keras import is_tf_keras


def strip_pruning(model: AnyModel) -> AnyModel:
    """Turns a wrapped model into the plain model again: original names, weights equal to the bit.

    Pruned weights are exact zeros already. If they are not, because weights were set or restored
    after the last step, a warning says so; no weight is changed, since that would change what the
    model computes.

    Args:
        model: A model from `tfshed.prune_low_magnitude`, of Keras 3 or tf_keras, trained or not.

    Returns:
        A Sequential or functional model of the layers that were wrapped. It shares its variables
        with `model` and is not compiled. A subclassed model comes back itself, with its own
        optimizer in place of the one that pruned. `tfshed.KeepZeros` keeps the zeros in later
        training.

    Raises:
        TypeError: `model` is no Keras model.

    Warns:
        UserWarning: weights are not zero although their masks removed them; or nothing was pruned,
            since the model was declared with `observe=True`.

    >>> import keras, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="head")])
    >>> pruned = tfshed.prune_low_magnitude(net, tfshed.ConstantSparsity(0.5, 0))
    >>> [layer.name for layer in tfshed.strip_pruning(pruned).layers]
    ['head']
    """
    if is_tf_keras(model):
        from tfshed.attach.tf_keras import prune

        return prune.strip(model)
    check_layer(model, "model")
    if not isinstance(model, keras.Model):
        raise TypeError(f"model: expected a Keras model, received the layer {type(model).__name__}")
    if observes(model):
        warnings.warn(nothing_was_pruned(model.name), stacklevel=2)
    kernels = [c.kernel for c in candidates(model)]
    found = disagreement(kernels)
    if found is not None:
        warnings.warn(
            f"strip_pruning: {found}. The weights were set after the last step, as by "
            "EarlyStopping(restore_best_weights=True) with a best epoch before the end of the "
            "schedule. They stay as they are: to get the schedule's sparsity, watch epochs after "
            "the schedule's end only (start_from_epoch=...), or train on from here.",
            stacklevel=2,
        )
    release([k.variable for k in kernels])
    if not can_clone(model):
        for layer in private.layers_in(model):
            withdraw(layer)
            unguard(layer)
        unwrap_optimizers(model)
        return model
    return clone(model, lambda x: x.layer if isinstance(x, PruneLowMagnitude) else x)


class prune_scope:
    """Does nothing; it is here so that code written for tfmot runs.

    Files of pruned models are read without a scope, as soon as tfshed has been imported.

    >>> import tfshed
    >>> with tfshed.prune_scope():
    ...     pass
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None
