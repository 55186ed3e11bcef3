"""A learning rate that takes the same sequence of values in every cycle of epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfshed.core.arguments import check_number
from tfshed.learning_rates.pieces import RATES, Pieces
from tfshed.learning_rates.registry import RateSettings, register


@keras.saving.register_keras_serializable(package="tfshed")
class CyclicStep(Pieces):
    """A rate that takes the same sequence of values in every cycle of epochs.

    With t = step / steps_per_epoch, the rate is `values[i]`, where i is the number of milestones <=
    t mod cycle.

    Args:
        values: The rates, > 0, one more than milestones.
        milestones: The epochs of a cycle at which the next value begins: increasing, > 0, < cycle,
            not necessarily whole.
        cycle: The length of a cycle in epochs, not necessarily whole. Milestones and cycle are
            rounded to steps.
        steps_per_epoch: The number of optimizer steps in an epoch, >= 1.

    Raises:
        ValueError: An argument is out of its range.

    >>> rate = CyclicStep((0.1, 0.01), (1,), cycle=3, steps_per_epoch=10)
    >>> [round(float(rate(10 * epoch)), 6) for epoch in range(7)]
    [0.1, 0.01, 0.01, 0.1, 0.01, 0.01, 0.1]
    """

    def __init__(
        self,
        values: Sequence[float],
        milestones: Sequence[float],
        cycle: float,
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        self._set(values, milestones, steps_per_epoch)
        self.cycle = check_number("cycle", cycle, positive=True)
        self._cycle = self._steps(self.cycle)
        if self._cycle <= max([0, *self._boundaries]):
            raise ValueError(
                "expected cycle to be longer than the last milestone, by a step at least, received "
                f"cycle={cycle!r} and milestones={milestones!r}"
            )

    def __call__(self, step: Any) -> Any:
        """Returns the rate of the step that follows `step` others, a float32 scalar."""
        return self._piece(ops.mod(ops.cast(step, "int32"), self._cycle))


def cyclic(steps_per_epoch: int) -> CyclicStep:
    """Returns the paper's cyclic schedule: in 7 epochs 3 with 1e-2, 2 with 1e-3 and 2 with 1e-4.

    Args:
        steps_per_epoch: The number of optimizer steps in an epoch, >= 1.

    >>> rate = cyclic(steps_per_epoch=10009)
    >>> [round(float(rate(10009 * epoch)), 6) for epoch in range(2, 9)]
    [0.01, 0.001, 0.001, 0.0001, 0.0001, 0.01, 0.01]

    Source: Azarian & Porikli 2021 (arXiv 2103.10629), eq. 2, made for 5 cycles.
    """
    return CyclicStep(RATES, (3, 5), 7, steps_per_epoch)


@register("cyclic")
def cyclic_of_recipe(given: RateSettings) -> CyclicStep:
    """In every cycle, each rate of a recipe is used from its milestone on."""
    return CyclicStep(given.values, given.milestones, given.cycle, given.steps_per_epoch)
