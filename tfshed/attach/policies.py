"""Two interfaces of tfmot: layers that name their prunable weights, and policies about layers."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import keras


class PrunableLayer(abc.ABC):
    """Mix-in for a custom layer that names those of its weights that are to be pruned, as in tfmot.

    Any layer with a method `get_prunable_weights` is treated so. The class only makes this visible
    to readers and to `isinstance`.

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
    def get_prunable_weights(self) -> Sequence[keras.Variable]:
        """Returns the variables to prune, once the layer is built."""


class PruningPolicy(abc.ABC):
    """Decides for each layer whether it may be pruned, as in tfmot.

    Pass an object of a subclass to `tfshed.prune_low_magnitude(..., pruning_policy=policy)`.

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
    def allow_pruning(self, layer: keras.Layer) -> bool:
        """Returns whether a layer may be pruned."""

    def ensure_model_supports_pruning(self, model: keras.Model) -> None:  # noqa: B027
        """Raises ValueError if the model as a whole does not suit the purpose of the policy."""
