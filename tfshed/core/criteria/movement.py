"""Movement pruning: weights that training moves towards zero are pruned first."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.core.criteria.base import Criterion, register
from tfshed.core.criteria.context import Context


@register("movement")
@keras.saving.register_keras_serializable(package="tfshed")
class Movement(Criterion):
    """Prunes weights first that training moves towards zero.

    The score of a weight w with gradient g after T steps is

        S = - sum over t <= T of g_t w_t.

    It is negative for a weight that gradient descent makes smaller. The score of a block is the sum
    over its weights. The sum starts when training starts. The paper multiplies it by a learning
    rate, which does not change the order. Unlike in the paper, a pruned weight is zero and does not
    come back, and its score no longer changes.

    >>> import keras, numpy as np, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> schedule = tfshed.PolynomialDecay(0.0, 0.75, begin_step=2, end_step=6, frequency=2)
    >>> model = tfshed.prune_low_magnitude(net, schedule, criterion="movement", scope="global")
    >>> model.compile("sgd", "mse")
    >>> x, y = np.eye(8, dtype="float32"), np.ones((8, 4), "float32")
    >>> _ = model.fit(x, y, epochs=6, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    >>> int((model.layers[0].layer.get_weights()[0] != 0).sum())
    8

    Source: Sanh, Wolf & Rush 2020, "Movement Pruning: Adaptive Sparsity by Fine-Tuning" (arXiv
    2005.07683, section 4).
    """

    needs = ("gradient",)
    keeps = ("movement",)

    def observe(self, context: Context) -> dict[str, Any]:
        towards_zero = context.total(context.weight * context.gradient)
        return {"movement": context.state["movement"] - towards_zero}

    def scores(self, context: Context) -> Any:
        return context.state["movement"]
