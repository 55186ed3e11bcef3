"""Weights that training moves towards zero go first."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.core.criteria.base import Criterion, register
from tfshed.core.criteria.context import Context


@register("movement")
@keras.saving.register_keras_serializable(package="tfshed")
class Movement(Criterion):
    """Movement pruning: weights that training moves towards zero go first.

    Sanh, Wolf & Rush 2020, "Movement Pruning: Adaptive Sparsity by Fine-Tuning" (arXiv 2005.07683,
    section 4). The score of a weight after T steps is

        S = - sum over t <= T of g_t w_t,

    up to the paper's factor, the learning rate of the scores, which does not change their order. It
    is negative where gradient descent shrinks the weight; a block has the sum over its weights.
    The sum starts with training. Other than in the paper, where a weight under the mask lives on
    and may come back, here it is zero, and its score stays as it was.

    >>> import keras, numpy as np, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> schedule = tfshed.PolynomialDecay(0.0, 0.75, begin_step=2, end_step=6, frequency=2)
    >>> model = tfshed.prune_low_magnitude(net, schedule, criterion="movement", scope="global")
    >>> model.compile("sgd", "mse")
    >>> x, y = np.eye(8, dtype="float32"), np.ones((8, 4), "float32")
    >>> _ = model.fit(x, y, epochs=6, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    >>> int((model.layers[0].layer.get_weights()[0] != 0).sum())
    8
    """

    needs = ("gradient",)
    keeps = ("movement",)

    def observe(self, context: Context) -> dict[str, Any]:
        towards_zero = context.total(context.weight * context.gradient)
        return {"movement": context.state["movement"] - towards_zero}

    def scores(self, context: Context) -> Any:
        return context.state["movement"]
