"""A rate that falls in a straight line."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.learning_rates.registry import RateSettings, register


@register("linear")
def linear_of_recipe(given: RateSettings) -> Any:
    """The first rate of a recipe at the start, `final` at the end, a straight line between them."""
    steps = given.epochs * given.steps_per_epoch
    return keras.optimizers.schedules.PolynomialDecay(given.values[0], steps, given.final)
