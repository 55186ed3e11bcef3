"""A rate that changes at milestones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import check_number
from tfshed.learning_rates.pieces import RATES, Pieces
from tfshed.learning_rates.registry import RateSettings, register


@keras.saving.register_keras_serializable(package="tfshed")
class MultiStep(Pieces):
    """A rate that changes at milestones, after an optional linear warm-up.

    With t = step / steps_per_epoch, the rate is `values[i]`, where i counts the milestones <= t;
    during the first W = round(warmup_epochs * steps_per_epoch) steps it is multiplied by
    (step + 1) / W.

    Args:
        values: rates, > 0, one more than milestones.
        milestones: epochs at which the next value begins, > 0 and growing, fractions allowed. The
            boundary is at step round(milestone * steps_per_epoch), compared as whole numbers.
        steps_per_epoch: optimizer updates in an epoch, >= 1.
        warmup_epochs: length of the warm-up (Goyal et al. 2017, section 2.2), >= 0; default 0. Its
            first step has the rate values[0] / W, its last one values[0].

    Raises:
        ValueError: if an argument is out of its range.

    >>> rate = MultiStep((0.1, 0.01, 0.001), (91, 136), steps_per_epoch=391)
    >>> [round(float(rate(step)), 6) for step in (0, 91 * 391 - 1, 91 * 391, 136 * 391)]
    [0.1, 0.1, 0.01, 0.001]
    >>> rate = MultiStep((0.1, 0.01), (2,), steps_per_epoch=4, warmup_epochs=0.5)
    >>> [round(float(rate(step)), 6) for step in (0, 1, 2, 7, 8)]
    [0.05, 0.1, 0.1, 0.1, 0.01]
    """

    def __init__(
        self,
        values: Sequence[float],
        milestones: Sequence[float],
        steps_per_epoch: int,
        warmup_epochs: float = 0.0,
    ) -> None:
        super().__init__()
        self._set(values, milestones, steps_per_epoch)
        self.warmup_epochs = check_number("warmup_epochs", warmup_epochs)
        if self.warmup_epochs < 0:
            raise ValueError(f"expected warmup_epochs to be >= 0, received {warmup_epochs!r}")
        self._warmup = self._steps(self.warmup_epochs)

    def __call__(self, step: Any) -> Any:
        """Returns the rate of the update that follows `step` others, a float32 scalar."""
        # Whole numbers whatever the type of the step: a float epoch would miss its boundary.
        step = ops.cast(step, "int32")
        rate = self._piece(step)
        if self._warmup:
            done = ops.cast(ops.minimum(step + 1, self._warmup), "float32")
            rate = rate * (done / self._warmup)
        return rate


def three_step(steps_per_epoch: int) -> MultiStep:
    """The paper's 3-step schedule: 1e-2, from epoch 11 on 1e-3, from epoch 23 on 1e-4.

    Azarian & Porikli 2021 (arXiv 2103.10629), eq. 1; made for 35 epochs.

    >>> rate = three_step(steps_per_epoch=10009)
    >>> [round(float(rate(10009 * epoch)), 6) for epoch in (0, 10, 11, 22, 23, 34)]
    [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001]
    """
    return MultiStep(RATES, (11, 23), steps_per_epoch)


@register("multistep")
def multi_step_of_recipe(given: RateSettings) -> MultiStep:
    """The rates of a recipe, each from its milestone on."""
    return MultiStep(given.values, given.milestones, given.steps_per_epoch)


@register("constant")
def constant_of_recipe(given: RateSettings) -> MultiStep:
    """The first rate of a recipe, all the time."""
    return MultiStep(given.values[:1], [], given.steps_per_epoch)
