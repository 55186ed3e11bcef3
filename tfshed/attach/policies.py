"""How a layer or a policy says itself what may be pruned: the interfaces that tfmot has for it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any


class PrunableLayer(abc.ABC):
    """Mix-in for a custom layer that says itself which of its weights are pruned (as in tfmot).

    Any layer with such a method will do; the class is for `isinstance` and for readers.

    >>> import keras, tfshed
    >>> class Scaled(keras.layers.Layer, tfshed.PrunableLayer):
    ...     def build(self, shape):
    ...         self.table = self.add_weight(shape=(shape[-1], 2), name="table")
    ...
    ...     def call(self, x):
    ...         return x @ self.table
    ...
    ...     def get_prunable_weights(self):
    ...         return [self.table]
    >>> net = keras.Sequential([keras.Input((4,)), Scaled()])
    >>> pruned = tfshed.prune_low_magnitude(net, tfshed.ConstantSparsity(0.5, 0))
    >>> [variable.name for variable in pruned.layers[0].get_prunable_weights()]
    ['table']
    """

    @abc.abstractmethod
    def get_prunable_weights(self) -> Sequence[Any]:
        """The variables to prune, once the layer is built."""


class PruningPolicy(abc.ABC):
    """Says layer by layer what may be pruned (as in tfmot).

    >>> import keras, tfshed
    >>> class OnlyWideLayers(tfshed.PruningPolicy):
    ...     def allow_pruning(self, layer):
    ...         return getattr(layer, "units", 0) >= 4
    >>> layers = [keras.layers.Dense(4, name="hidden"), keras.layers.Dense(2, name="head")]
    >>> net = keras.Sequential([keras.Input((8,)), *layers])
    >>> pruned = tfshed.prune_low_magnitude(net, pruning_policy=OnlyWideLayers())
    >>> [layer.name for layer in pruned.layers]
    ['prune_low_magnitude_hidden', 'head']
    """

    @abc.abstractmethod
    def allow_pruning(self, layer: Any) -> bool:
        """Whether this layer may be pruned."""

    def ensure_model_supports_pruning(self, model: Any) -> None:  # noqa: B027
        """Raises ValueError if the model as a whole does not suit the policy's purpose."""
