"""`PruneRegistry` and `collect_prunable_layers`, two names of tfmot; tfshed takes every layer."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.attach.keras3.declarations import check_layer
from tfshed.attach.keras3.private import layers_in
from tfshed.attach.keras3.wrapper import PruneLowMagnitude
from tfshed.attach.kernels import KernelsByDefault
from tfshed.attach.types import Keras2Layer, LayerOfEither
from tfshed.attach.which_keras import is_tf_keras


class PruneRegistry:
    """tfmot's registry of layers that can be pruned, with the two calls that its users make.

    >>> import keras
    >>> layer = keras.layers.Dense(4)
    >>> layer.build((None, 8))
    >>> (
    ...     PruneRegistry.supports(layer),
    ...     len(PruneRegistry.make_prunable(layer).get_prunable_weights()),
    ... )
    (True, 1)
    """

    @classmethod
    def supports(cls, layer: keras.Layer | Keras2Layer) -> bool:
        """Whether `prune_low_magnitude` takes this layer: it takes every Keras layer."""
        if is_tf_keras(layer):
            from tfshed.attach.tf_keras.real import tf_keras

            return isinstance(layer, tf_keras.layers.Layer)
        return isinstance(layer, keras.layers.Layer)

    @classmethod
    def make_prunable(cls, layer: LayerOfEither) -> LayerOfEither:
        """The layer, with a `get_prunable_weights()` that returns what is pruned by default.

        Raises:
            TypeError: no Keras layer.
        """
        if not is_tf_keras(layer):
            check_layer(layer)
        if not hasattr(layer, "get_prunable_weights"):
            vars(layer)["get_prunable_weights"] = KernelsByDefault(layer)
        return layer


def collect_prunable_layers(model: keras.Layer | Keras2Layer) -> list[Any]:
    """Returns the pruning wrappers in a model, nested models included, as tfmot's function does.

    Args:
        model: A model or layer of Keras 3 or tf_keras.

    Raises:
        TypeError: `model` is no model or layer.

    >>> import keras, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="head")])
    >>> pruned = tfshed.prune_low_magnitude(net, tfshed.ConstantSparsity(0.5, 0))
    >>> [layer.name for layer in collect_prunable_layers(pruned)]
    ['prune_low_magnitude_head']
    """
    if is_tf_keras(model):
        from tfshed.attach.tf_keras.wrapped import wrappers_of

        return list(wrappers_of(model))
    check_layer(model)
    return [layer for layer in layers_in(model) if isinstance(layer, PruneLowMagnitude)]
