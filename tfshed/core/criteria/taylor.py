"""First-order Taylor pruning: weights whose removal changes the loss least are pruned first."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import MOST_INT, check_int
from tfshed.core.criteria.base import Criterion, register
from tfshed.core.criteria.context import Context


@register("taylor")
@keras.saving.register_keras_serializable(package="tfshed")
class Taylor(Criterion):
    """Prunes the elements with the lowest saliency |w g| first, averaged over steps.

    Setting a weight w with gradient g to zero changes the loss by -w g at first order. Let s be the
    sum of |w g| over the weights of an element. Its score a is an average of s, which step t
    changes to

        a + (s - a) / min(t, steps).

    This is the plain mean over the first `steps` steps, and an exponential average after them. With
    `steps=1` and a single update in the first step, `ConstantSparsity(0.9, begin_step=1,
    end_step=1)`, it is SNIP (a common factor does not matter).

    Args:
        steps: The number of optimizer steps to average over, >= 1. Default 100.

    Raises:
        ValueError: `steps` is no whole number >= 1.

    >>> import keras, numpy as np, tfshed
    >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> schedule = tfshed.ConstantSparsity(0.75, begin_step=3)
    >>> criterion = tfshed.criteria.Taylor(steps=3)
    >>> model = tfshed.prune_low_magnitude(net, schedule, criterion=criterion)
    >>> model.compile("sgd", "mse")
    >>> x, y = np.eye(8, dtype="float32"), np.ones((8, 4), "float32")
    >>> _ = model.fit(x, y, epochs=3, verbose=0, callbacks=[tfshed.UpdatePruningStep()])
    >>> int((model.layers[0].layer.get_weights()[0] != 0).sum())
    8

    Source: Molchanov et al. 2017 (arXiv 1611.06440, section 2.2), applied to weights. SNIP: Lee,
    Ajanthan & Torr 2019 (arXiv 1810.02340, eq. 6). Second-order saliency goes back to LeCun, Denker
    & Solla 1989.
    """

    needs = ("gradient",)
    keeps = ("average",)
    signed = False

    def __init__(self, steps: int = 100):
        check_int("steps", steps, 1, MOST_INT)
        self.steps = int(steps)

    def observe(self, context: Context) -> dict[str, Any]:
        now = context.total(ops.abs(context.weight * context.gradient))
        average = context.state["average"]
        # `context.step` counts from 1, so the first step sets the average to `now`.
        share = 1.0 / ops.cast(ops.minimum(context.step, self.steps), "float32")
        return {"average": average + (now - average) * share}

    def scores(self, context: Context) -> Any:
        return context.state["average"]

    def get_config(self) -> dict[str, Any]:
        return {"steps": self.steps}
