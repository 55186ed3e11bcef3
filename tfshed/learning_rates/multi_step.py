"""A learning rate that changes at milestones."""

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

    With t = step / steps_per_epoch, the rate is `values[i]`, where i is the number of milestones
    <= t. During the first W = round(warmup_epochs * steps_per_epoch) steps it is multiplied by
    (step + 1) / W.

    Args:
        values: The rates, > 0, one more than milestones.
        milestones: The epochs at which the next value begins: increasing, > 0, not necessarily
            whole. They are rounded to steps.
        steps_per_epoch: The number of optimizer steps in an epoch, >= 1.
        warmup_epochs: The length of the warm-up in epochs (Goyal et al. 2017, section 2.2), >= 0.
            Its first step has the rate values[0] / W, its last one values[0]. Default 0.

    Raises:
        ValueError: An argument is out of its range.

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
        """Returns the rate of the step that follows `step` others, a float32 scalar."""
        # Steps are compared as whole numbers, since rounded floats could miss a milestone.
        step = ops.cast(step, "int32")
        rate = self._piece(step)
        if self._warmup:
            done = ops.cast(ops.minimum(step + 1, self._warmup), "float32")
            rate = rate * (done / self._warmup)
        return rate


def three_step(steps_per_epoch: int) -> MultiStep:
    """Returns the paper's 3-step schedule: 1e-2, from epoch 11 on 1e-3, from epoch 23 on 1e-4.

    Args:
        steps_per_epoch: The number of optimizer steps in an epoch, >= 1.

    >>> rate = three_step(steps_per_epoch=10009)
    >>> [round(float(rate(10009 * epoch)), 6) for epoch in (0, 10, 11, 22, 23, 34)]
    [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001]

    Source: Azarian & Porikli 2021 (arXiv 2103.10629), eq. 1, made for 35 epochs.
    """
    return MultiStep(RATES, (11, 23), steps_per_epoch)


@register("multistep")
def multi_step_of_recipe(given: RateSettings) -> MultiStep:
    """Each rate of a recipe is used from its milestone on."""
    return MultiStep(given.values, given.milestones, given.steps_per_epoch)


@register("constant")
def constant_of_recipe(given: RateSettings) -> MultiStep:
    """The first rate of a recipe is used all the time."""
    return MultiStep(given.values[:1], [], given.steps_per_epoch)
