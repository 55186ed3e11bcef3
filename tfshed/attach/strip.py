"""`strip_pruning`: the plain model again."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfshed.attach.declared import withdraw
from tfshed.attach.keras3.cloning import can_clone, clone
from tfshed.attach.keras3.declarations import check_layer
from tfshed.attach.keras3.guard import unguard
from tfshed.attach.keras3.optimizer import unwrap_optimizer
from tfshed.attach.keras3.wrapper import PruneLowMagnitude
from tfshed.attach.kernels import candidates
from tfshed.attach.ownership import owner_of, release
from tfshed.attach.which_keras import is_tf_keras


def strip_pruning(model: Any) -> Any:
    """The plain model again: masks written into the weights, no wrappers, the original names.

    Args:
        model: from `prune_low_magnitude`, trained or not.

    Returns:
        A Sequential or functional model of the layers that were wrapped (weights are shared, not
        copied), not compiled. A subclassed model comes back itself, its optimizer unwrapped. Zeros
        are exact zeros: keep them in later training with `tfshed.KeepZeros`.

    Raises:
        TypeError: not a Keras model.

    >>> import keras, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="head")])
    >>> pruned = tfshed.prune_low_magnitude(net, tfshed.ConstantSparsity(0.5, 0))
    >>> [layer.name for layer in tfshed.strip_pruning(pruned).layers]
    ['head']
    """
    if is_tf_keras(model):
        from tfshed.attach.tf_keras import prune

        return prune.strip(model)
    check_layer(model)
    if not isinstance(model, keras.Model):
        raise TypeError(f"model: expected a Keras model, received the layer {type(model).__name__}")
    for c in candidates(model):
        owner = owner_of(c.kernel.variable)
        if owner is not None:
            mask = owner.mask(c.kernel.variable, c.kernel.axes)
            c.kernel.variable.assign(ops.where(mask, c.kernel.variable.value, 0))
            release([c.kernel.variable])
    if not can_clone(model):
        for layer in model._flatten_layers(include_self=True, recursive=True):
            withdraw(layer)
            unguard(layer)
        unwrap_optimizer(model)
        return model
    return clone(model, lambda x: x.layer if isinstance(x, PruneLowMagnitude) else x)


class prune_scope:
    """Does nothing: pruned models load without a scope. Kept so that tfmot's code runs.

    >>> import tfshed
    >>> with tfshed.prune_scope():
    ...     pass
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None
