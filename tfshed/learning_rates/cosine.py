"""A rate that falls along half a cosine."""

from __future__ import annotations

from typing import Any

import keras

from tfshed.learning_rates.registry import RateSettings, register


@register("cosine")
def cosine_of_recipe(given: RateSettings) -> Any:
    """The rate falls like half a cosine from the first rate of a recipe to `final`.

    With p = step / (epochs * steps_per_epoch), the rate is

        final + (first - final) (1 + cos(pi p)) / 2.

    Source: Loshchilov & Hutter 2017 (arXiv 1608.03983), eq. 5, without restarts.
    """
    first = given.values[0]
    if given.final > first:
        raise ValueError(
            f"final: expected a rate of at most {first}, the first one, received {given.final}"
        )
    steps = given.epochs * given.steps_per_epoch
    return keras.optimizers.schedules.CosineDecay(first, steps, alpha=given.final / first)
