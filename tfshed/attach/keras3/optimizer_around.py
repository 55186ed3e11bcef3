"""An optimizer around another one: the base of `PruningOptimizer`, without any pruning in it."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.attach.keras3 import private
from tfshed.attach.keras3.checks import checked_optimizer
from tfshed.core.backend import to_numpy


class OptimizerAround(keras.optimizers.Optimizer):
    """Passes on to an inner optimizer whatever the subclass does not do itself.

    Learning rate, step counter and loss scale are those of the inner optimizer. Its variables
    follow those that the subclass makes, such as masks.

    Args:
        inner_optimizer: a Keras optimizer, or its name.
        name: of this optimizer; default: that of its class.

    Raises:
        TypeError: `inner_optimizer` is no optimizer and no name of one.
        ValueError: Keras knows no such optimizer, or it is a `LossScaleOptimizer`, which has to
            stand outside.
    """

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer | str, name: str | None = None):
        inner = checked_optimizer(inner_optimizer)
        if isinstance(inner, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "inner_optimizer: expected an optimizer without loss scaling, received a "
                "LossScaleOptimizer. Wrap its inner_optimizer: "
                "LossScaleOptimizer(PruningOptimizer(...))."
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner

    @property
    def variables(self) -> list[Any]:
        return [*private.made_by(self), *self.inner_optimizer.variables]

    # Keras walks on to the inner optimizer by itself: its state would be written twice otherwise.
    def save_own_variables(self, store: Any) -> None:
        for i, variable in enumerate(private.made_by(self)):
            store[str(i)] = to_numpy(variable)

    @property
    def _model_variables_moving_average(self) -> Any:
        # `keras.callbacks.SwapEMAWeights` looks here if loss scaling is outside.
        return private.averages_list(self.inner_optimizer)

    @property
    def learning_rate(self) -> Any:
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        return self.inner_optimizer.iterations

    def scale_loss(self, loss: Any) -> Any:
        return self.inner_optimizer.scale_loss(loss)
